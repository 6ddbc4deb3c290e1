"""``emsynth train``: fine-tune a method on the very volume it will mend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.groups import Common, Source
from napari_emsynth.cli.parse import parse_roi
from napari_emsynth.cli.screen import Screen, complain, table
from napari_emsynth.errors import InputError
from napari_emsynth.training.job import CHECKPOINT, TrainingJob

if TYPE_CHECKING:
    from napari_emsynth.io.url import Location

# A line a minute is enough for a log; a person watches the bar.
SECONDS_BETWEEN_LINES = 60.0


def train(
    name: Annotated[str, typer.Argument(metavar="TASK/ID", help="Such as interpolate/emsynth.")],
    source: Source,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors file to write.")],
    options: dict[str, Any],
    factor: Annotated[
        int | None,
        typer.Option(metavar="8|16", help="Of superres: what to train for; short for --objective x8 or x16."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    roi: Annotated[
        str | None, typer.Option(metavar="Z0:Z1,Y0:Y1,X0:X1", help="Learn from this part only; sections and px.")
    ] = None,
    common: Common,
) -> None:
    """Fine-tune a method on the volume at hand; held-out sections of it are the judge."""
    from napari_emsynth.methods.train import run

    with Screen(as_json=common.json) as screen:
        check_weights_file(out, source, overwrite=overwrite, resume=options["resume"])
        runtime = common.runtime(screen)
        volume = common.open(source, screen)
        region = parse_roi(roi, volume.shape)
        job = TrainingJob(
            method=name,
            out=str(out),
            **options | {"objective": objective_of(options.get("objective"), factor)},
            roi=None if region is None else tuple((s.start, s.stop) for s in region),  # type: ignore[arg-type]
            device=common.device,
            seed=common.seed,
            source=str(source.absolute() if isinstance(source, Path) else source),
            chosen=volume.metadata.get("chosen", {}),
            data=volume.name,
            voxel_nm=volume.grid.voxel_nm,
        )
        started = time.monotonic()
        with keeping(job):
            record = run(job, volume, runtime=runtime, on_step=reporter(screen))
        answer = {"task": name.partition("/")[0], "out": str(out), **record}
        answer |= {"seconds": round(time.monotonic() - started, 3), "notices": screen.notes}
        screen.answer(answer, describe(answer))


def objective_of(objective: str | None, factor: int | None) -> str | None:
    """Return the objective that was named, or the one that a factor of super-resolution stands for.

    Raises:
        InputError: both were given.
    """
    if factor is None:
        return objective
    if objective is not None:
        raise InputError(f"--factor {factor} and --objective {objective} both say what to train for; give one")
    return f"x{factor}"


@contextmanager
def keeping(job: TrainingJob) -> Iterator[None]:
    """Say what is left when the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        if job.checkpoint.exists():
            complain(f"the best so far is in {job.checkpoint}; go on with --resume")
        raise


def check_weights_file(out: Path, source: Location, *, overwrite: bool, resume: bool) -> None:
    """Refuse a file of weights that could not be written at the end, before any work.

    Raises:
        InputError: wrong suffix, no such folder, an existing file, or IN itself.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out} does not end in .safetensors")
    if isinstance(source, Path) and out.resolve() == source.resolve():
        raise InputError(f"--out {out} is IN itself")
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder of --out {out} does not exist")
    if overwrite or resume:
        return
    if out.exists():
        raise InputError(f"{out} exists; give --overwrite to replace it, or --from {out} and another --out")
    checkpoint = out.with_name(out.stem + CHECKPOINT)
    if checkpoint.exists():
        raise InputError(f"{checkpoint} is of an unfinished run; give --resume to go on, --overwrite to begin anew")


def reporter(screen: Screen) -> Callable[[dict[str, float]], None]:
    """Return what is called after every step: it moves the bar, tells validations and at times the loss."""
    last = time.monotonic()

    def step(terms: dict[str, float]) -> None:
        nonlocal last
        screen.progress(int(1000 * terms["progress"]), 1000, "training (per mille)")
        scores = {name: value for name, value in terms.items() if name.startswith("val_")}
        if scores or time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            told = scores or {"loss": terms["loss"]}
            text = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
            screen.say(f"step {terms['step']:.0f}, {terms['seconds']:.0f} s: {text}")

    return step


def describe(answer: dict[str, Any]) -> str:
    """Return the outcome for a person: held-out scores before and after."""
    rows = [
        (name, f"{value:.3f}", f"{answer['after'][name]:.3f}")
        for name, value in answer["before"].items()
        if name in answer["after"] and name not in ("step", "seconds")
    ]
    head = f"trained {answer['method']}, {answer['steps']} steps in {answer['seconds']:.0f} s"
    if answer["file"] is not None:
        head += f" -> {answer['out']}"
    if not answer["gained"]:
        head += "; nothing gained: on held-out sections no step beat what it started from"
        head += "" if answer["file"] else ", and nothing was saved (--save-anyway saves it all the same)"
    return f"{head}\n{table(('on held-out sections', 'before', 'after'), rows)}"
