"""What a command's outputs are written with: held from before it computes, and what is left of them in words.

Law: a command that ends before its time says what waits for ``--resume``, or that nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_emsynth.cli.sbatch import write_script
from napari_emsynth.cli.screen import complain
from napari_emsynth.cli.signals import ending
from napari_emsynth.errors import Cancelled, InputError

if TYPE_CHECKING:
    from napari_emsynth.cli.groups import Save
    from napari_emsynth.io.url import Location
    from napari_emsynth.spec import CancelToken, Runtime

# The words of the command that is run.
ASKED: ContextVar[tuple[str, ...]] = ContextVar("ASKED", default=())
NOTHING_LEFT = "no unfinished result was left"


@contextmanager
def saving(
    outputs: Sequence[Path | None],
    inputs: Sequence[Location | None],
    check: Callable[[], None],
    save: Save,
    runtime: Runtime,
) -> Iterator[dict[str, Any]]:
    """Hold a command's outputs, and yield the keywords that they are written with.

    Args:
        outputs: what it writes; None for what was not asked for.
        inputs: files that the outputs depend on; None for what was not given.
        check: refuses outputs that must not be written.
        save: how they are written.
        runtime: whom to tell.

    Raises:
        InputError: see ``check``; another job is writing one of them.
        Cancelled: interrupted; its words are what is left.
    """
    from napari_emsynth.io.atomic import claiming
    from napari_emsynth.io.inputs import Inputs

    places = [path for path in outputs if path is not None]
    if save.sbatch is not None or save.part is not None:
        check_parts(places, save)
    if save.sbatch is not None:
        check()
        parts = write_script(save.sbatch, ASKED.get(), save.array, overwrite=save.overwrite)
        complain(f"{save.sbatch} is an array of {parts} tasks: sbatch {save.sbatch}")
        raise typer.Exit
    with (
        claiming(places, check, runtime.note, shared=save.part is not None) as claims,
        ending_in(runtime.cancel, lambda: claims.left or NOTHING_LEFT),
    ):
        yield {
            "overwrite": save.overwrite,
            "resume": save.resume,
            "progress": runtime.progress,
            "cancel": runtime.cancel,
            "note": runtime.note,
            "inputs": Inputs.of(inputs),
            "claims": claims,
            "part": save.part,
        }


def check_parts(places: Sequence[Path], save: Save) -> None:
    """Refuse what cannot be done in parts.

    Raises:
        InputError: an output that is no Zarr, or several.
    """
    flag = "--sbatch" if save.sbatch is not None else "--array"
    if len(places) > 1:
        raise InputError(f"{flag}: {places[1]} is not written in parts; write it in a run of its own")
    if places[0].suffix.lower() != ".zarr" or places[0].name.endswith(".patch.zarr"):
        raise InputError(f"{flag}: {places[0]} is not written in parts, only a .zarr volume is")


@contextmanager
def ending_in(cancel: CancelToken, left: Callable[[], str]) -> Iterator[None]:
    """Let a job be interrupted, and say in what state that leaves things.

    Args:
        cancel: of the job.
        left: returns the words.

    Raises:
        Cancelled: interrupted; its words are what is left.
    """
    try:
        with ending(cancel):
            yield
    except (KeyboardInterrupt, Cancelled):
        raise Cancelled(left()) from None
