"""``emsynth patch``: what was changed of a volume, put into it, taken out again, or shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import AsJson
from napari_emsynth.cli.saving import ending_in
from napari_emsynth.cli.screen import Screen, table
from napari_emsynth.sections import spans

patch = typer.Typer(
    name="patch",
    help="Put what --patch wrote into a Zarr in place, take it out again, or show it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PatchFile = Annotated[Path, typer.Argument(metavar="P", help="A .patch.zarr, as --patch writes it.")]
Into = Annotated[Path, typer.Argument(metavar="VOLUME", help="A Zarr, changed in place.")]
Flag = Annotated[
    bool, typer.Option("--patch", help="Write only what changed to OUT, a .patch.zarr: see emsynth patch.")
]


@patch.command()
def apply(file: PatchFile, volume: Into, *, json: AsJson = False) -> None:
    """Put a patch into VOLUME: voxels of every level, mask, error estimate, record. Safe to stop."""
    from napari_emsynth.io.patch import apply_patch

    _write(apply_patch, "put into", file, volume, as_json=json)


@patch.command()
def undo(file: PatchFile, volume: Into, *, json: AsJson = False) -> None:
    """Take a patch out of VOLUME again: everything is bit for bit what it was before."""
    from napari_emsynth.io.patch import undo_patch

    _write(undo_patch, "taken out of", file, volume, as_json=json)


@patch.command()
def show(file: PatchFile, *, json: AsJson = False) -> None:
    """Say of which volume a patch is, what it changes, and by what."""
    from napari_emsynth.io.patch import read_patch

    with Screen(as_json=json) as screen:
        told = read_patch(file).to_json()
        screen.answer(told, describe(told))


def _write(job: Callable[..., dict[str, Any]], words: str, file: Path, volume: Path, *, as_json: bool) -> None:
    """Change a volume in place, and say what was done.

    Raises:
        Cancelled: interrupted; its words say how to go on.
    """
    from napari_emsynth.io.patch import read_patch
    from napari_emsynth.spec import CancelToken

    with Screen(as_json=as_json) as screen:
        cancel = CancelToken()
        left = f"{volume} may be between two states: run again to go on, or emsynth patch undo to go back"
        with ending_in(cancel, lambda: left):
            done = job(read_patch(file), volume, progress=screen.progress, cancel=cancel, note=screen.note)
        kept = [f"level {level} is no whole-number reduction and was left as it is" for level in done["levels_left"]]
        lines = [f"section(s) {spans(done['sections'])}: {file} {words} {volume}"] if done["blocks"] else []
        answer = done | {"notices": [*screen.notes, *kept]}
        screen.answer(answer, "\n".join([*lines, *answer["notices"]]))


def describe(told: dict[str, Any]) -> str:
    """Return what a patch says of itself for a person: of what it is, then a row a box."""
    size = "unknown voxel size" if told["voxel_nm"] is None else f"{', '.join(f'{n:g}' for n in told['voxel_nm'])} nm"
    shape = " x ".join(map(str, told["shape"]))
    holds = ", ".join(told["holds"]) or "no marks"
    lines = [
        f"{told['task']}/{told['method']} of {told['name'] or 'a volume'}: {shape} {told['dtype']}, {size}",
        f"{told['voxels']} voxels in section(s) {spans(told['sections'])}, with {holds}",
    ]
    return "\n".join([*lines, table(("sections", "rows", "columns"), [_row(box) for box in told["boxes"]])])


def _row(box: Sequence[Sequence[int]]) -> tuple[str, ...]:
    (z0, z1), *rest = box
    return (spans(range(z0, z1)), *(f"{low}:{high}" for low, high in rest))
