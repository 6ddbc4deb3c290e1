"""Volumes moved by a displacement field: images, and labels whose ids stay.

Conventions: ``moved_z(p) = z(p + u_z(p))``. What comes from outside a section is 0, or NaN for floats.

Laws: a section whose field is zero comes out bit-identical; labels get no new ids; numpy in gives numpy out; dask,
zarr and files give dask arrays that read and compute only what is asked for, and both agree bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from uuid import uuid4

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.resample import (
    HALO,
    INTERPOLATIONS,
    Interpolation,
    Window,
    pulled,
)
from napari_emsynth.fields.resample import (
    outside as beyond,
)
from napari_emsynth.spec import Runtime, no_progress
from napari_emsynth.volume import Array, Volume

Box = tuple[slice, slice, slice]

# Edge in px of what is drawn at once: halos cost little, and the field on it takes a few MB.
TILE = 768
# Lazy blocks are at least so long along y and x where the source allows, and hold at most so many bytes.
LAZY_EDGE, LAZY_BYTES = 512, 1 << 27


def moved(
    volume: Volume,
    field: Displacement,
    interpolation: Interpolation | None = None,
    runtime: Runtime = Runtime(),
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
    return replace(volume, data=_made(Draw(volume, field, how), volume, volume.dtype, runtime))


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
    return Volume(_made(Outside(field), like, dtype, runtime), like.grid, f"{like.name} synthetic")


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
        field: of its shape.
        how: interpolation.
    """

    volume: Volume
    field: Displacement
    how: Interpolation

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box, in the volume's dtype."""
        z, y, x = box
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.volume.dtype)
        sections = range(z.start, z.stop)
        rows, columns = self._needed(sections, y, x)
        block = self.volume.read(z, rows, columns)
        for i, section in enumerate(sections):
            runtime.cancel.check()
            for ty, tx in _tiles(y, x):
                place = (
                    i,
                    slice(ty.start - y.start, ty.stop - y.start),
                    slice(tx.start - x.start, tx.stop - x.start),
                )
                out[place] = self._tile(section, block[i], (rows.start, columns.start), ty, tx)
        return out

    def _tile(self, z: int, read: Array, origin: tuple[int, int], y: slice, x: slice) -> Array:
        """Return one tile of one section, from what was read of the section from ``origin`` on."""
        u = self.field.dense(z, y, x)
        if not u.any():
            return read[y.start - origin[0] : y.stop - origin[0], x.start - origin[1] : x.stop - origin[1]]
        rows, columns = self._needed(range(z, z + 1), y, x)
        pixels = read[
            rows.start - origin[0] : rows.stop - origin[0],
            columns.start - origin[1] : columns.stop - origin[1],
        ]
        window = Window(pixels, rows.start, columns.start, self.field.shape[1:])
        return pulled(window, u, (y.start, x.start), self.how)[0]

    def _needed(self, sections: range, y: slice, x: slice) -> tuple[slice, slice]:
        """Return the rows and columns that a window of some sections is made from; one pixel at least."""
        bounds = [self.field.reach(z, y, x) for z in sections]
        low = np.min([b[0] for b in bounds], axis=0)
        high = np.max([b[1] for b in bounds], axis=0)
        rows, columns = (
            _clipped(s.start + np.floor(a) - HALO[self.how], s.stop + np.ceil(b) + HALO[self.how], length)
            for s, a, b, length in zip((y, x), low, high, self.field.shape[1:], strict=True)
        )
        return rows, columns


@dataclass(frozen=True, eq=False)
class Outside:
    """Draws any box of the mask of what comes from outside; can be pickled.

    Args:
        field: that moves.
    """

    field: Displacement

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] uint8."""
        z, y, x = box
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.uint8)
        for i, section in enumerate(range(z.start, z.stop)):
            runtime.cancel.check()
            for ty, tx in _tiles(y, x):
                u = self.field.dense(section, ty, tx)
                there = beyond(u, (ty.start, tx.start), self.field.shape[1:])
                out[i, ty.start - y.start : ty.stop - y.start, tx.start - x.start : tx.stop - x.start] = there
        return out


def _clipped(low: float, high: float, length: int) -> slice:
    """Return the part of a span that lies on an axis, one pixel at least."""
    start = int(min(max(low, 0), length - 1))
    return slice(start, int(min(max(high, start + 1), length)))


def _tiles(y: slice, x: slice) -> list[tuple[slice, slice]]:
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
    import dask.array as da

    edges = lazy_block(like)
    chunks = tuple(
        tuple(min(e, n - i) for i in range(0, n, e)) for n, e in zip(like.shape, edges, strict=True)
    )
    return da.map_blocks(
        _Block(draw, replace(runtime, progress=no_progress)),
        chunks=chunks,
        dtype=dtype,
        meta=np.empty((0, 0, 0), dtype),
        name=f"moved-{uuid4().hex}",
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

    def __call__(self, block_info: Any = None) -> Array:
        z, y, x = (slice(int(a), int(b)) for a, b in block_info[None]["array-location"])
        return self.draw((z, y, x), self.runtime)
