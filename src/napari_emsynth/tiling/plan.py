"""How a volume is cut into tiles: index arithmetic only, any number of axes.

Conventions: a tile *computes* a core block, *reads* that block with a halo on both sides, and *writes* its
``out``. Where the halo leaves the volume it is filled by reflection about the outermost voxel centres, again
and again when the halo is larger than the volume.

Laws: the ``out`` blocks partition the volume; every tile has the same input size, a multiple
of ``multiple``; every core starts at a multiple of ``multiple``, so that a network with strides sees the same
phase in every tile as in the whole; therefore, when the halo covers the receptive field, tiled equals whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array, Float

Slices = tuple[slice, ...]
Faces = Literal["reflect", "inside"]


@dataclass(frozen=True)
class Tile:
    """One tile; every field holds one entry per axis.

    Args:
        out: voxels of the volume this tile answers for.
        read: voxels of the volume its input is made of, inside the volume.
        pad: voxels of its input that lie before and after the volume, filled by reflection.
        keep: where ``out`` lies inside its input.
    """

    out: Slices
    read: Slices
    pad: tuple[tuple[int, int], ...]
    keep: Slices

    @property
    def start(self) -> tuple[int, ...]:
        """Position in the volume of the input's first voxel; negative where it is padded."""
        return tuple(o.start - k.start for o, k in zip(self.out, self.keep, strict=True))

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the input, padding included."""
        ends = (r.stop + after for r, (_, after) in zip(self.read, self.pad, strict=True))
        return tuple(end - start for end, start in zip(ends, self.start, strict=True))

    def fill(self, block: Array, into: Float) -> None:
        """Write the tile's input from the voxels that were read.

        Args:
            block: [c, *read] voxels of ``read``.
            into: [c, *size] overwritten.
        """
        for axis, (read, start, size) in enumerate(zip(self.read, self.start, self.size, strict=True)):
            if (start, size) != (read.start, read.stop - read.start):
                # Reflection about the end of what was read equals reflection about the volume's: see _span.
                index = reflect(np.arange(start, start + size), read.stop) - read.start
                block = block.take(index, axis=axis + 1)
        into[...] = block


def reflect(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Map any index into [0, length) by reflection about the first and last voxel, repeated as needed."""
    if length == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * length - 2)
    mirrored: NDArray[np.intp] = np.minimum(folded, 2 * length - 2 - folded)
    return mirrored


def plan(
    shape: Sequence[int],
    tile: Sequence[int],
    halo: Sequence[int],
    *,
    multiple: Sequence[int] | None = None,
    faces: Faces = "reflect",
) -> list[Tile]:
    """Cut a volume into equal tiles, in raster order (the first axis slowest).

    Args:
        shape: voxels along each axis.
        tile: largest core along each axis; cores are made equal, so they may be smaller.
        halo: voxels read on both sides of the core.
        multiple: the input's size is a multiple of this; 1 when left out.
        faces: what a tile at the volume's face sees beyond it: a reflection, or nothing.

    Raises:
        InputError: an empty axis, a tile below 1 voxel, a negative halo, lengths that differ.
    """
    axes = len(shape)
    multiple = (1,) * axes if multiple is None else multiple
    _check(shape=shape, tile=tile, halo=halo, multiple=multiple)
    inside = faces == "inside"
    spans = [_axis(*numbers, inside) for numbers in zip(shape, tile, halo, multiple, strict=True)]
    return [
        Tile(
            out=tuple(s.out for s in cell),
            read=tuple(s.read for s in cell),
            pad=tuple(s.pad for s in cell),
            keep=tuple(s.keep for s in cell),
        )
        for cell in product(*spans)
    ]


@dataclass(frozen=True)
class _Span:
    """A tile along one axis."""

    out: slice
    read: slice
    pad: tuple[int, int]
    keep: slice


def _axis(length: int, tile: int, halo: int, multiple: int, inside: bool) -> list[_Span]:
    # Everything is counted in units of `multiple`, so that cores start on its grid.
    units = -(-length // multiple)
    count = -(-units // (units if tile >= length else max(tile // multiple, 1)))
    core = -(-units // count)
    starts = [i * (units - core) // max(1, count - 1) * multiple for i in range(count)]
    if inside:
        halo = -(-halo // multiple) * multiple  # inputs start on the grid, wherever they are moved
    size = -(-(core * multiple + 2 * halo) // multiple) * multiple
    last = units * multiple - size
    if inside and last < 0:
        size, last = units * multiple, 0
    spans: list[_Span] = []
    for start in starts:
        # Equal cores may overlap by rounding: the first that has a voxel writes it.
        first = spans[-1].out.stop if spans else start
        out = slice(first, min(start + core * multiple, length))
        begin = min(max(0, start - halo), last) if inside else start - halo
        spans.append(_span(out, begin, size, length))
    return spans


def _span(out: slice, start: int, size: int, length: int) -> _Span:
    """Return what to read for the input [start, start + size) of an axis of ``length`` voxels.

    A reflected voxel may lie further inside than the input itself (a last tile that is mostly padding), so
    the range read is that of all indices needed; it ends at ``length`` when the far end reflects.
    """
    needed = reflect(np.arange(start, start + size), length)
    return _Span(
        out=out,
        read=slice(int(needed.min()), int(needed.max()) + 1),
        pad=(max(0, -start), max(0, start + size - length)),
        keep=slice(out.start - start, out.stop - start),
    )


def _check(*, shape: Sequence[int], **numbers: Sequence[int]) -> None:
    if not shape or min(shape) < 1:
        raise InputError(f"shape {tuple(shape)} has an empty axis; every axis needs at least 1 voxel")
    lowest = {"tile": 1, "multiple": 1, "halo": 0}
    for name, values in numbers.items():
        if len(values) != len(shape):
            raise InputError(f"{name} {tuple(values)} has {len(values)} numbers, needs {len(shape)}: one an axis")
        if min(values) < lowest[name]:
            raise InputError(f"{name} {min(values)} voxels is below the limit of {lowest[name]} voxels")
