"""Which voxels a result changed of the volume it was made from, as boxes.

Laws: a voxel outside every box is the volume's own; boxes do not overlap within a section of a repair, and adjacent
sections with the same window share one.
"""

from __future__ import annotations

from collections.abc import Iterable

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.io.content import Block
from napari_emsynth.spec import Result
from napari_emsynth.volume import Volume

Window = tuple[slice, slice]


def changed(result: Result, source: Volume) -> list[Block]:
    """Return the boxes of a volume that a result changed, in order.

    Args:
        result: of any task that keeps the volume's grid.
        source: what it was made from.

    Raises:
        InputError: the result lies on another grid.
    """
    check_keeps(source.grid, result.volume.grid)
    whole = (slice(0, source.shape[1]), slice(0, source.shape[2]))
    if result.displacement is not None:
        lengths = result.displacement.largest_px()
        return _runs((z, whole) for z, length in enumerate(lengths) if length)
    entries = result.provenance.get("sections") or ()
    return _runs((int(entry["section"]), _window(entry.get("window"), whole)) for entry in entries)


def check_keeps(before: Grid, after: Grid) -> None:
    """Refuse what a patch cannot hold, before any work.

    Args:
        before: of the volume.
        after: of the result.

    Raises:
        InputError: they have different shapes.
    """
    if before.shape != after.shape:
        sizes = [" x ".join(map(str, grid.shape)) for grid in (before, after)]
        raise InputError(
            f"a patch keeps the shape of the volume, and {sizes[0]} voxels become {sizes[1]}: write the result whole"
        )


def _window(said: object, whole: Window) -> Window:
    """Return the part of a section that a record names; all of it where it names none."""
    if not isinstance(said, list | tuple):
        return whole
    (y0, y1), (x0, x1) = said
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _runs(places: Iterable[tuple[int, Window]]) -> list[Block]:
    """Return boxes of places (section, window), adjacent sections with the same window in one."""
    ordered = sorted({(y.start, y.stop, x.start, x.stop, z) for z, (y, x) in places})
    found: list[list[int]] = []
    for *window, z in ordered:
        if found and found[-1][2:] == window and found[-1][1] == z:
            found[-1][1] = z + 1
        else:
            found.append([z, z + 1, *window])
    return [(slice(z0, z1), slice(y0, y1), slice(x0, x1)) for z0, z1, y0, y1, x0, x1 in sorted(found)]
