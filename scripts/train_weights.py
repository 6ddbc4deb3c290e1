"""Train the bundled weights of a method from the training volumes: the recipe that made every bundled file.

Usage:
    python scripts/train_weights.py train interpolate/emsynth accurate --data FOLDER --minutes 120
    python scripts/train_weights.py finish interpolate/emsynth accurate --data FOLDER

``train`` resumes by itself after a kill (checkpoints in --runs). ``finish`` writes the best weights and their card,
with figures measured on the eval volumes, into the package; ``measure`` measures the card of bundled weights anew.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tifffile
import torch
import typer

from napari_emsynth.methods import get_by_name
from napari_emsynth.methods.evaluate import evaluate
from napari_emsynth.training import checkpoint
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.loop import fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.volume import Volume
from napari_emsynth.weights import store
from napari_emsynth.weights.card import Card

# The last sections of the large block are held out: for validation, calibration and the bundled sample.
HELD_OUT_FROM = 252
# Of the mouse sections, these: the eval sections are others of the same block, further on.
MOUSE_HELD_OUT_FROM = 68
LICENCE = (
    "trained on Drosophila medulla FIB-SEM by FlyEM, Janelia (neuroproof_examples), Creative Commons Attribution; "
    "the volumes were cropped, augmented and learned from"
)
MOUSE_LICENCE = (
    "trained on Drosophila medulla FIB-SEM by FlyEM, Janelia (neuroproof_examples), Creative Commons Attribution, and "
    "on mouse somatosensory cortex ATUM sections of SNEMI3D (Kasthuri et al. 2015; blocks AC3 and AC4, Zenodo record "
    "7142003), stated there as CC BY 4.0; the volumes were cropped, augmented and learned from"
)
# What the card's figures are measured on, by task: file, what the evaluation is asked (superres: its weights' factor,
# which is not said here), and the crop along y and x in px: networks in three dimensions take their time.
Asked = dict[str, Any]
EVAL: dict[str, list[tuple[str, Asked, int]]] = {
    "interpolate": [("fib25_eval", {"gap": gap}, 512) for gap in (1, 2, 3, 4)]
    + [
        (f"{name}_eval", {"gap": 1}, 512)
        for name in ("hemibrain", "mouse_sbem", "mouse_atum", "vnc_sstem", "cremi_sstem", "mouse_sstem")
    ],
    "align": [("fib25_eval", {"gap": 1}, 160), ("fib25_eval", {"gap": 2}, 160), ("mouse_sbem_eval", {"gap": 1}, 160)],
    "upsample": [
        *((f"{name}_eval", {"gap": 1}, 160) for name in ("fib25", "hemibrain", "mouse_sbem")),
        ("fib25_eval", {"gap": 3}, 160),
        *(("fib25_eval", {"gap": gap, "sampling": "slab"}, 160) for gap in (3, 7)),
        ("hemibrain_eval", {"gap": 3, "sampling": "slab"}, 160),
    ],
    "superres": [("fib25_eval", {}, 512), ("hemibrain_eval", {}, 512), ("mouse_sbem_eval", {}, 512)],
}  # fmt: skip
# Figures that are worth a card's space, and what they are called there.
FIGURES = {"psnr": "PSNR in dB", "mid_band": "mid-band power"}

app = typer.Typer(add_completion=False)
Name = Annotated[str, typer.Argument(help="TASK/ID")]
Weights = Annotated[str, typer.Argument(help="name of the weights to make, such as accurate")]
Data = Annotated[Path, typer.Option(help="folder of the training and eval volumes")]


def fib25(folder: Path) -> TrainingData:
    """Drosophila medulla FIB-SEM, 10 nm isotropic, Creative Commons Attribution (FlyEM, Janelia)."""
    large = tifffile.imread(folder / "fib25_train_large.tif")
    small = tifffile.imread(folder / "fib25_train_small.tif")
    return TrainingData(
        blocks=[large[:HELD_OUT_FROM], small],
        held_out=[large[HELD_OUT_FROM:]],
        axes=(0, 1, 2),
        name=f"fib25_train_large[:{HELD_OUT_FROM}], fib25_train_small",
    )


def fib25_and_mouse(folder: Path) -> TrainingData:
    """The same, with mouse cortex: 30 nm sections of 6 nm pixels, along z only."""
    fine = fib25(folder)
    large = tifffile.imread(folder / "mouse_atum_train_large.tif")
    small = tifffile.imread(folder / "mouse_atum_train_small.tif")
    thick = f"mouse_atum_train_large[:{MOUSE_HELD_OUT_FROM}], mouse_atum_train_small"
    return replace(
        fine,
        thick=[large[:MOUSE_HELD_OUT_FROM], small],
        thick_held_out=[large[MOUSE_HELD_OUT_FROM:]],
        name=f"{fine.name}, {thick}",
    )


# Who learns from what, and what the card says of its licence, by method or by one of its weights; fib25 alone where
# nothing is said.
WITH_MOUSE = ("interpolate/emsynth", "interpolate/jain2017", "align/emsynth equivariant")


def data_of(name: str, weights: str, folder: Path) -> tuple[TrainingData, str]:
    """Return what a method's weights are trained on, and the licence line of their card."""
    if {name, f"{name} {weights}"} & set(WITH_MOUSE):
        return fib25_and_mouse(folder), MOUSE_LICENCE
    return fib25(folder), LICENCE


def checkpoint_of(runs: Path, name: str, weights: str) -> Path:
    """Where a run keeps its checkpoint."""
    return runs / f"{store.bundled_id(name, weights)}.ckpt.safetensors"


def recipe_of(name: str, weights: str, data: Path, start: str = "", **options: Any) -> Any:
    """The method's recipe on the training volumes.

    Args:
        name: TASK/ID.
        weights: name of the weights to make, which is their objective's.
        data: folder of the volumes.
        start: weights to start from, a checkpoint of another run, or "" for none.
        options: of the recipe; None leaves its default.
    """
    spec = get_by_name(name)
    if weights not in spec.recipes:
        raise typer.BadParameter(f"{name} has no weights {weights!r} to train; known: {', '.join(spec.recipes)}")
    tensors = None
    if start.endswith(".ckpt.safetensors"):
        tensors = checkpoint.load(Path(start)).best
    elif start:
        tensors = store.load(name, start)[0]
    chosen = {key: value for key, value in options.items() if value is not None}
    return spec.recipes[weights](data_of(name, weights, data)[0], tensors, **chosen)


@app.command()
def train(
    name: Name,
    weights: Weights,
    data: Data,
    minutes: float = 120.0,
    runs: Path = Path(".train"),
    device: str = "cpu",
    batch: Annotated[int | None, typer.Option(help="samples a step")] = None,
    size: Annotated[int | None, typer.Option(help="crop edge in px")] = None,
    lr: float = 1e-3,
    validate_every: Annotated[float, typer.Option(help="seconds between validations")] = 240.0,
    seed: int = 0,
    start: Annotated[str, typer.Option(help="weights to start from, or a checkpoint of another run")] = "",
    only: Annotated[str | None, typer.Option(help="network or stage to train, of a method with several")] = None,
    config: Annotated[str | None, typer.Option(help='sizes and switches as JSON, such as {"pod": false}')] = None,
) -> None:
    """Train one method; its best weights so far are in the checkpoint in --runs."""
    path = checkpoint_of(runs, name, weights)
    runs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def on_step(terms: dict[str, float]) -> None:
        if "val_score" in terms or int(terms["step"]) % 50 == 0:
            terms = terms | {"wall": time.monotonic() - started}
            line = json.dumps({k: round(v, 4) for k, v in terms.items()})
            print(line, flush=True)
            with path.with_suffix(".jsonl").open("a") as file:
                file.write(line + "\n")

    plan = Plan(seconds=60 * minutes, lr=lr, validate_every=validate_every)
    sizes = None if config is None else json.loads(config)
    recipe = recipe_of(name, weights, data, start, batch=batch, size=size, only=only, config=sizes)
    fit(recipe, plan, path, device=torch.device(device), seed=seed, resume=True, on_step=on_step)


@app.command()
def fit_filters(data: Data) -> None:
    """Fit the filters that stand in where a volume is too small to fit its own, and write them into the package."""
    from napari_emsynth.methods.interpolate import fit as filters
    from napari_emsynth.methods.interpolate.emsynth.recipe import stacks_of
    from napari_emsynth.methods.interpolate.scoring.held_out import fitted
    from napari_emsynth.training.samples.pairs import SectionStack

    started = time.monotonic()
    found: dict[tuple[int, ...], tuple[Any, Any]] = {}
    tensors: dict[str, Any] = {}
    learned = fib25_and_mouse(data)
    stacks = [SectionStack(stack) for stack in stacks_of(learned)[0]]
    for offsets in filters.bundled_offsets():
        taps, error = fitted(stacks, offsets)
        found[offsets] = torch.from_numpy(taps), torch.tensor(error)
        print(f"{offsets}: root mean square error {error:.3f} on places left out", flush=True)
    for offsets, pair in found.items():
        # Up and down are the same to tissue: a mirrored gap has the mirrored filter.
        mirrored = found[tuple(-o for o in reversed(offsets))]
        name = ",".join(str(o) for o in offsets)
        tensors[name] = (pair[0] + mirrored[0].flip(0)) / 2
        tensors[f"{name}{filters.ERROR}"] = (pair[1] + mirrored[1]) / 2
    id_ = store.bundled_id(filters.NAME, filters.BUNDLED)
    card = Card(
        id=id_, method=filters.NAME, name=filters.BUNDLED, data=learned.name, licence=MOUSE_LICENCE,
        seconds=round(time.monotonic() - started), device="cpu", voxel_nm=(6.0, 10.0),
        figures={"root mean square error on places left out, in deviations of a section": {
            name.removesuffix(filters.ERROR): round(float(value), 3)
            for name, value in tensors.items() if name.endswith(filters.ERROR)
        }},
    )  # fmt: skip
    store.write(store.HERE / f"{id_}.safetensors", store.HERE / "cards" / f"{id_}.toml", tensors, card, half=True)


@app.command()
def join(
    name: Name,
    weights: Weights,
    parts: Annotated[list[str], typer.Argument(help="PREFIX=CHECKPOINT of runs that trained a network each")],
    data: Data,
    runs: Path = Path(".train"),
) -> None:
    """Put networks that were trained side by side into one checkpoint, for ``finish``."""
    best, counters = {}, checkpoint.Counters()
    for part in parts:
        prefix, _, file = part.partition("=")
        saved = checkpoint.load(Path(file))
        best |= {f"{prefix}.{k.removeprefix(f'{prefix}.')}": v for k, v in saved.best.items()}
        counters.step += saved.counters.step
        counters.seconds += saved.counters.seconds
    recipe = recipe_of(name, weights, data)
    network = recipe.network()
    network.load_state_dict(best)
    runs.mkdir(parents=True, exist_ok=True)
    average = {k: v.clone() for k, v in best.items()}  # a file holds no tensor twice
    checkpoint.save(
        checkpoint_of(runs, name, weights), network=network, average=average, best=best, learner={},
        counters=counters, fingerprint=recipe.fingerprint(),
    )  # fmt: skip


@app.command()
def finish(
    name: Name,
    weights: Weights,
    data: Data,
    runs: Path = Path(".train"),
    device: str = "cpu",
    limit: int = 8,
    before: Annotated[
        list[Path], typer.Option(help="checkpoint of a run that this one went on from: its time counts too")
    ] = [],  # noqa: B006 - as typer wants it
) -> None:
    """Write the best weights so far into the package, half precision, with figures on the eval volumes."""
    saved = checkpoint.load(checkpoint_of(runs, name, weights))
    runs_of_all = [saved.counters, *(checkpoint.load(path).counters for path in before)]
    recipe = recipe_of(name, weights, data)
    network = recipe.network()
    network.load_state_dict({k: v.half().float() for k, v in saved.best.items()})
    id_ = store.bundled_id(name, weights)
    card = Card(
        id=id_,
        method=name,
        name=weights,
        objective=weights,
        data=recipe.data.name,
        licence=data_of(name, weights, data)[1],
        steps=sum(counters.step for counters in runs_of_all),
        seconds=round(sum(counters.seconds for counters in runs_of_all)),
        device=device,
        **recipe.facts(network.eval(), torch.device("cpu")),
    )
    target = store.HERE / f"{id_}.safetensors", store.HERE / "cards" / f"{id_}.toml"
    card = store.write(*target, saved.best, card, half=True)
    tell(card, data, limit)


@app.command()
def measure(name: Name, weights: Weights, data: Data, limit: int = 8) -> None:
    """Measure the card of bundled weights anew; the weights stay."""
    tensors, card = store.load(name, weights)
    recipe = recipe_of(name, weights, data)
    network = recipe.network()
    network.load_state_dict(tensors)
    card = replace(card, **recipe.facts(network.eval(), torch.device("cpu")))
    # Figures are measured by what the card in its place says.
    (store.HERE / "cards" / f"{card.id}.toml").write_text(card.to_toml(), encoding="utf-8")
    tell(card, data, limit)


def tell(card: Card, data: Path, limit: int) -> None:
    """Add figures on the eval volumes to the card of bundled weights."""
    target = store.HERE / "cards" / f"{card.id}.toml"
    figures: dict[str, dict[str, float]] = {}
    method = get_by_name(card.method)
    for file, asked, edge in EVAL[method.task]:
        if asked.get("sampling", "point") in (method.samplings or ("point",)):
            figures |= rows(card.method, card.name, data / f"{file}.tif", asked, edge, limit)
    target.write_text(replace(card, figures=figures).to_toml(), encoding="utf-8")
    print(target.read_text(encoding="utf-8"))


def rows(name: str, weights: str, file: Path, asked: Asked, edge: int, limit: int) -> dict[str, dict[str, float]]:
    """The method and the floors on one eval volume, in the window the evaluation uses."""
    volume = Volume.of(tifffile.imread(file)[:, :edge, :edge])
    if name.startswith("superres/"):
        asked = asked | {"factor": int(weights.removeprefix("x"))}
    what = ", ".join(f"{thing} {value}" for thing, value in asked.items())
    report = evaluate(name, volume, weights=weights, limit=limit, **asked)
    figures = {
        f"{label}, {file.stem}, {what}": {m: round(s[figure], 3) for m, s in report["scores"].items()}
        for figure, label in FIGURES.items()
    }
    if "epe_px" in report:
        # What is left of the known distortion; the stack's own wobble is part of it.
        figures[f"residual in px, {file.stem}, {what}"] = {m: round(v, 3) for m, v in report["epe_px"].items()}
    return figures


if __name__ == "__main__":
    app()
