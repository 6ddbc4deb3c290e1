"""Volumes moved by a displacement field: images, and labels whose ids stay.

Conventions: ``moved_z(p) = z(p + u_z(p))``. What comes from outside a section, and of an image what is known to be
empty, is 0, or NaN for floats.

Laws: a section whose field is zero comes out bit-identical; labels get no new ids; numpy in gives numpy out; dask,
zarr and files give dask arrays that read and compute only what is asked for, and both agree bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from uuid import uuid4

import numpy as np

from napari_emsynth.chain import Carry, chained, library
from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.resample import HALO, INTERPOLATIONS, Interpolation, Window, outside as beyond, pulled
from napari_emsynth.spec import Result, Runtime, no_progress
from napari_emsynth.volume import Array, Float, Known, Volume

Box = tuple[slice, slice, slice]
Span2 = tuple[slice, slice]

# Edge in px of what is drawn at once: halos cost little, and the field on it takes a few MB.
TILE = 768
# Lazy blocks are at least so long along y and x where the source allows, and hold at most so many bytes.
LAZY_EDGE, LAZY_BYTES = 512, 1 << 27


def moved(
    volume: Volume, field: Displacement, interpolation: str | None = None, runtime: Runtime = Runtime()
) -> Volume:
    """Return a volume moved by a field, on the same grid and of the same dtype.

    Args:
        volume: [z, y, x] any real dtype.
        field: of a volume of this shape; :meth:`Displacement.resized` fits one found on a binned copy.
        interpolation: "cubic" for images, "linear", or "nearest" for labels; None takes nearest for integers and
            booleans, whose values may be ids, and cubic for floats.
        runtime: its progress and cancel.

    Raises:
        InputError: a field of another shape, an unknown interpolation.
        Cancelled: after ``runtime.cancel``.
    """
    check_fits(field, volume)
    how = interpolation_for(volume.dtype, interpolation)
    data, labels = _made(Draw(volume, field, how), volume, volume.dtype, runtime), volume.labels or how == "nearest"
    # What is known of the volume is of voxels that have moved now.
    return replace(volume, data=data, labels=labels, known=None)


def applied(
    given: Volume | Array,
    field: Displacement,
    interpolation: str | None = None,
    *,
    record: Mapping[str, Any] | None = None,
    runtime: Runtime = Runtime(),
) -> Any:
    """Return what a user gave, moved: a Volume for a Volume, an array for an array.

    Args:
        given: [z, y, x] a Volume or an array of the field's shape.
        field: that moves it.
        interpolation: see :func:`moved`.
        record: provenance of the alignment; a Volume carries it on, with what was moved and how. Without one it knows
            what it was before: aligned again, it is drawn from that.
        runtime: its progress and cancel.

    Raises:
        InputError: another shape, an unknown interpolation.
        Cancelled: after ``runtime.cancel``.
    """
    volume = Volume.of(given)
    how = interpolation_for(volume.dtype, interpolation)
    out = moved(volume, field, how, runtime)
    if not isinstance(given, Volume):
        return out.data
    if record is None:
        return replace(out, known=Known(moved=(volume, field)))
    carried = {"name": volume.name, "dtype": str(volume.dtype), "interpolation": how}
    return replace(out, known=Known(record={**record, "carried": carried}))


def outside(field: Displacement, like: Volume, runtime: Runtime = Runtime()) -> Volume:
    """Return the mask [z, y, x] uint8 of what :func:`moved` had to leave empty: 1 where it comes from outside.

    Args:
        field: of a volume of this shape.
        like: the volume that is moved; the mask is lazy where it is, in the same blocks.
        runtime: its progress and cancel.

    Raises:
        InputError: a field of another shape.
    """
    check_fits(field, like)
    dtype = np.dtype(np.uint8)
    return Volume(_made(Outside(field), like, dtype, runtime), like.grid, f"{like.name} empty")


def nothing_made(empty: Volume, name: str) -> Volume:
    """Return the synthetic mask of what was only moved, of that name: 0 throughout, lazy like the mask of the empty."""
    return Volume(library(empty.data).zeros_like(empty.data), empty.grid, f"{name} synthetic")


def carrying(field: Displacement) -> Carry:
    """Return how marks go along with what a field moves: a voxel that a marked one has a share in is marked."""

    def shares(marks: Any) -> Any:
        xp = library(marks)
        linear = moved(Volume.of(marks.astype(np.float32)), field, "linear").data
        # What comes from outside has no share in anything.
        known = xp.where(xp.isnan(linear), np.float32(0), linear)
        return known if marks.dtype.kind == "f" else (known > 0).astype(marks.dtype)

    return Carry(marks=shares, draws=False)


def by(result: Result, field: Displacement) -> Result:
    """Return a result that was moved by a field, and by which others follow."""
    return replace(result, displacement=field, along=Follows(field))


@dataclass(frozen=True, eq=False)
class Follows:
    """Takes other volumes along with one that was moved.

    Args:
        field: that moved it.
    """

    field: Displacement

    def apply(self, given: Volume | Array, interpolation: str | None = None, *, record: Mapping[str, Any]) -> Any:
        """Return what a user gave, moved, see :func:`applied`."""
        return applied(given, self.field, interpolation, record=record)

    def carried(self, volume: Volume, record: Mapping[str, Any], interpolation: str | None = None) -> Result:
        """Return another volume moved along, with the mask of what is empty now, a record, and its own marks.

        Args:
            volume: [z, y, x] of the field's shape.
            record: provenance of the alignment.
            interpolation: see :func:`moved`.

        Raises:
            InputError: another shape, an unknown interpolation.
        """
        out: Volume = applied(volume, self.field, interpolation, record=record)
        beyond = outside(self.field, volume)
        made = Result(
            volume=out, synthetic=nothing_made(beyond, volume.name), empty=beyond, provenance=dict(out.record or {}),
            displacement=self.field, along=self,
        )  # fmt: skip
        return chained(made, volume, carrying(self.field))


def interpolation_for(dtype: np.dtype[Any], asked: str | None) -> Interpolation:
    """Return the interpolation asked for, or the one that cannot harm: integers may be ids.

    Raises:
        InputError: an unknown one.
    """
    if asked is None:
        return "cubic" if dtype.kind == "f" else "nearest"
    for known in INTERPOLATIONS:
        if asked == known:
            return known
    raise InputError(f"interpolation {asked!r} is not one of {', '.join(INTERPOLATIONS)}")


def check_fits(field: Displacement, volume: Volume) -> None:
    """Refuse a field of another volume.

    Raises:
        InputError: the shapes differ.
    """
    if field.shape != volume.shape:
        name = f" {volume.name}" if volume.name else ""
        raise InputError(
            f"the displacement field is for {field.shape} voxels (z, y, x), the volume{name} has {volume.shape}"
        )


@dataclass(frozen=True, eq=False)
class Draw:
    """Draws any box of a moved volume; can be pickled.

    Args:
        volume: what is moved.
        field: of its rows and columns.
        how: interpolation.
        first: section of the volume that the field's first one is for.
    """

    volume: Volume
    field: Displacement
    how: Interpolation
    first: int = 0

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box, in the volume's dtype."""
        z, y, x = box
        out = np.empty(_size(box), self.volume.dtype)
        sections = range(z.start - self.first, z.stop - self.first)
        rows, columns = self._needed(sections, y, x)
        block = self.volume.read(z, rows, columns)
        stated = None if self.volume.known is None or self.how == "nearest" else self.volume.known.empty
        empty = None if stated is None else Volume.of(stated).read(z, rows, columns) != 0
        for i, section in enumerate(sections):
            runtime.cancel.check()
            for tile in _tiles(y, x):
                lacking = None if empty is None else empty[i]
                out[(i, *_within(tile, (y, x)))] = self._tile(section, block[i], lacking, (rows, columns), tile)
        return out

    def _tile(self, z: int, read: Array, empty: Array | None, where: Span2, tile: Span2) -> Array:
        """Return one tile of a section; ``read`` is the window ``where`` of the section, ``empty`` where it is that."""
        u = self.field.dense(z, *tile)
        if not u.any():
            return read[_within(tile, where)]
        # Rounding may put a vector a hair beyond the bounds that were read for: the halo has a pixel to spare.
        wanted = self._around(tile, u.min(axis=(1, 2)), u.max(axis=(1, 2)))
        rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(wanted, where, strict=True))
        part = _within((rows, columns), where)
        empty = None if empty is None else empty[part]
        window = Window(read[part], rows.start, columns.start, self.field.shape[1:], empty)
        return pulled(window, u, (tile[0].start, tile[1].start), self.how)[0]

    def _needed(self, sections: range, y: slice, x: slice) -> Span2:
        """Return the rows and columns that a window of some sections is made from; one pixel at least."""
        bounds = [self.field.reach(z, y, x) for z in sections]
        low = np.min([b[0] for b in bounds], axis=0)
        return self._around((y, x), low, np.max([b[1] for b in bounds], axis=0))

    def _around(self, window: Span2, low: Float, high: Float) -> Span2:
        """Return the rows and columns that displacements between ``low`` and ``high`` [2] px take a window from."""
        rows, columns = (
            _clipped(s.start + np.floor(a) - HALO[self.how], s.stop + np.ceil(b) + HALO[self.how], length)
            for s, a, b, length in zip(window, low, high, self.field.shape[1:], strict=True)
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class Outside:
    """Draws any box of the mask of what comes from outside; can be pickled.

    Args:
        field: that moves.
        first: section of the volume that the field's first one is for.
    """

    field: Displacement
    first: int = 0

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] uint8."""
        z, y, x = box
        out = np.empty(_size(box), np.uint8)
        for i, section in enumerate(range(z.start - self.first, z.stop - self.first)):
            runtime.cancel.check()
            for tile in _tiles(y, x):
                u = self.field.dense(section, *tile)
                out[(i, *_within(tile, (y, x)))] = beyond(u, (tile[0].start, tile[1].start), self.field.shape[1:])
        return out


def _size(box: Box) -> tuple[int, int, int]:
    z, y, x = (s.stop - s.start for s in box)
    return z, y, x


def _within(inner: Span2, outer: Span2) -> Span2:
    """Return where a window lies in another that holds it."""
    y, x = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True))
    return y, x


def _clipped(low: float, high: float, length: int) -> slice:
    """Return the part of a span that lies on an axis, one pixel at least."""
    start = int(min(max(low, 0), length - 1))
    return slice(start, int(min(max(high, start + 1), length)))


def _tiles(y: slice, x: slice) -> list[Span2]:
    """Cut a window into tiles."""
    rows, columns = ([slice(i, min(i + TILE, s.stop)) for i in range(s.start, s.stop, TILE)] for s in (y, x))
    return list(product(rows, columns))


# ---------------------------------------------------------------------------------- now or later


def _made(draw: Draw | Outside, like: Volume, dtype: np.dtype[Any], runtime: Runtime) -> Any:
    """Return the whole array: now for volumes in memory, as it is read for lazy ones."""
    return _lazy(draw, like, dtype, runtime) if like.is_lazy else _eager(draw, like, dtype, runtime)


def _eager(draw: Draw | Outside, like: Volume, dtype: np.dtype[Any], runtime: Runtime) -> Array:
    count, height, width = like.shape
    out = np.empty(like.shape, dtype)
    for z in range(count):
        runtime.cancel.check()
        runtime.progress(z, count, "moving sections")
        out[z] = draw((slice(z, z + 1), slice(0, height), slice(0, width)), runtime)[0]
    runtime.progress(count, count, "moving sections")
    return out


def _lazy(draw: Draw | Outside, like: Volume, dtype: np.dtype[Any], runtime: Runtime) -> Any:
    """Return a dask array; nodes in memory go with the blocks that need them, section by section."""
    import dask.array as da

    edges = lazy_block(like)
    axes = [da.arange(n, chunks=e) for n, e in zip(like.shape, edges, strict=True)]
    nodes = []
    if not draw.field.is_lazy:
        data = draw.field.data
        nodes = [da.from_array(data, chunks=(edges[0], *data.shape[1:]), name=f"nodes-{uuid4().hex}"), "zcvu"]
        draw = replace(draw, field=replace(draw.field, data=data[:1], shape=(1, *like.shape[1:])))
    return da.blockwise(
        _Block(draw, replace(runtime, progress=no_progress)),
        "zyx",
        *(part for pair in zip(axes, "zyx", strict=True) for part in pair),
        *nodes,
        dtype=dtype,
        meta=np.empty((0, 0, 0), dtype),
        name=f"moved-{uuid4().hex}",
        concatenate=True,
        align_arrays=False,
    )


def lazy_block(volume: Volume) -> tuple[int, int, int]:
    """Return the blocks in which to draw: whole chunks of the source, so that few are read twice."""
    chunks = getattr(volume.data, "chunks", None) or (1, LAZY_EDGE, LAZY_EDGE)
    z, y, x = (int(max(c)) if isinstance(c, tuple) else int(c) for c in chunks)
    y, x = (min(n, e * max(1, LAZY_EDGE // e)) for n, e in zip(volume.shape[1:], (y, x), strict=True))
    while z > 1 and z * y * x * volume.dtype.itemsize > LAZY_BYTES:
        z //= 2
    return z, y, x


class _Block:
    """Draws the block that dask asks for.

    No dataclass: dask would look for its own arrays inside, find the source volume, and compute it.
    """

    def __init__(self, draw: Draw | Outside, runtime: Runtime) -> None:
        self.draw, self.runtime = draw, runtime

    def __getstate__(self) -> dict[str, Any]:
        # Callbacks and the cancel token belong to this process.
        plain = Runtime(device=self.runtime.device, precision=self.runtime.precision, seed=self.runtime.seed)
        return {"draw": self.draw, "runtime": plain}

    def __call__(self, z: Array, y: Array, x: Array, nodes: Array | None = None) -> Array:
        """Draw a block.

        Args:
            z: [d] its sections, all in a row.
            y: [h] its rows.
            x: [w] its columns.
            nodes: [d, 2, y', x'] of its sections; None when the field reads them itself.
        """
        draw = self.draw
        if nodes is not None:
            part = replace(draw.field, data=nodes, shape=(len(nodes), *draw.field.shape[1:]))
            draw = replace(draw, field=part, first=int(z[0]))
        rows, columns = (slice(int(p[0]), int(p[-1]) + 1) for p in (y, x))
        return draw((slice(int(z[0]), int(z[-1]) + 1), rows, columns), self.runtime)
