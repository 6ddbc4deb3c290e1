"""Label volumes upsampled along z: what goes along with an upsampled image.

Conventions: [z, y, x] integers or booleans, every value an id, 0 the background. Between two sections shapes run as
:mod:`napari_emsynth.methods.upsample.labels.shapes` has it. A thick section's labels are those at its centre; beyond
the outer centres they are repeated.

Laws: no id is new; an output section that lies on the centre of an input section is its copy, under point sampling with
a whole factor every input section among them; numpy in gives numpy out, dask, zarr and files give dask arrays that read
the two sections around what is asked for; both agree bit by bit, whatever the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, product
from operator import itemgetter
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import SAME, Grid
from napari_emsynth.methods import blocks, get
from napari_emsynth.methods.blocks import Box
from napari_emsynth.methods.upsample.labels.shapes import between
from napari_emsynth.methods.upsample.lattice import Lattice, check_factor
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Array, Known, Volume

# Shapes are looked at in tiles of so many px, with so many around them: an object is what a tile shows of it. Blocks
# are cut at the same places, so that no tile is drawn twice.
TILE, HALO = 512, 96
# What a record calls the way labels go along.
SHAPES = "shapes"


def upsample_labels(
    labels: Volume | Array, factor: float, sampling: str = "point", *, runtime: Runtime = Runtime()
) -> Any:
    """Return labels with thinner sections: a Volume for a Volume, an array for an array.

    Args:
        labels: [z, y, x] integers or booleans; a Volume, numpy, dask or zarr array.
        factor: output sections a section, 2 to 12; may be fractional.
        sampling: "point" or "slab", as the image they belong to was upsampled.
        runtime: its progress and cancel.

    Raises:
        InputError: voxels that are no ids, a factor or a sampling that does not exist.
        Cancelled: after ``runtime.cancel``.
    """
    volume = Volume.of(labels)
    check_ids(volume)
    # Labels take every factor and sampling that there is, as the floor does.
    known = check_factor(get("upsample", "linear"), factor, sampling)
    out = upsampled(volume, Lattice(volume.shape[0], *known), runtime)
    return out if isinstance(labels, Volume) else out.data


def upsampled(volume: Volume, lattice: Lattice, runtime: Runtime = Runtime()) -> Volume:
    """Return a label volume [z, y, x] on the sections of a lattice, lazy where it is."""
    grid, draw = lattice.grid(volume.grid), Drawn(volume, lattice)
    if volume.is_lazy:
        data = blocks.lazy(draw, grid.shape, volume.dtype, runtime, 0)
    else:
        data = blocks.eager(draw, grid.shape, volume.dtype, runtime, "upsampling labels")
    return replace(volume, data=data, grid=grid, labels=True, known=None)


def check_ids(volume: Volume) -> None:
    """Refuse what holds no ids.

    Raises:
        InputError: voxels that are neither integers nor booleans.
    """
    if volume.dtype.kind not in "bui":
        name = f"{volume.name} has" if volume.name else "these are"
        raise InputError(
            f"{name} voxels of type {volume.dtype}: only labels, integers or booleans, can be upsampled by shapes"
        )


@dataclass(frozen=True)
class Along:
    """Takes labels along with an upsampled volume; what :meth:`napari_emsynth.spec.Result.apply` asks.

    Args:
        lattice: of the upsampled volume.
        source: grid of the volume before.
    """

    lattice: Lattice
    source: Grid

    def apply(self, given: Volume | Array, interpolation: str | None = None, *, record: Mapping[str, Any]) -> Any:
        """Return labels upsampled as the volume was: a Volume for a Volume, an array for an array.

        Args:
            given: [z, y, x] labels of the shape that the volume had before.
            interpolation: None: images do not go along.
            record: provenance of the upsampled volume; a Volume carries it on.

        Raises:
            InputError: another shape, voxels that are no ids, an interpolation.
        """
        volume = Volume.of(given)
        out = self._upsampled(volume, interpolation)
        if not isinstance(given, Volume):
            return out.data
        return replace(out, known=Known(record=_record(volume, record)))

    def carried(self, volume: Volume, record: Mapping[str, Any], interpolation: str | None = None) -> Result:
        """Return labels upsampled as the volume was, with the mask of what was made up and a record.

        Args:
            volume: [z, y, x] labels of the shape that the volume had before.
            record: provenance of the upsampled volume.
            interpolation: None: images do not go along.

        Raises:
            InputError: another shape, voxels that are no ids, an interpolation.
        """
        out = self._upsampled(volume, interpolation)
        made_up = [_place(self.lattice, section)[1] != 0 for section in range(out.shape[0])]
        return Result(
            volume=out,
            synthetic=Volume(blocks.mask(made_up, out.data), out.grid, f"{volume.name} synthetic"),
            provenance=_record(volume, record),
            along=self,
        )

    def _upsampled(self, volume: Volume, interpolation: str | None) -> Volume:
        if interpolation is not None:
            raise InputError(
                f"interpolation {interpolation!r} is for images that are moved: labels are upsampled by their shapes"
            )
        check_ids(volume)
        if volume.shape != self.source.shape:
            name = f"labels {volume.name}" if volume.name else "labels"
            raise InputError(
                f"{name} of {volume.shape} voxels (z, y, x) cannot go along: {self.source.shape} were upsampled"
            )
        if volume.grid.voxel_nm is None:
            volume = replace(volume, grid=self.source)
        return upsampled(volume, self.lattice)


def _record(volume: Volume, record: Mapping[str, Any]) -> dict[str, Any]:
    carried = {"name": volume.name, "dtype": str(volume.dtype), "interpolation": SHAPES}
    return {**record, "carried": carried}


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws any box of upsampled labels; can be pickled.

    Args:
        volume: [z, y, x] labels before.
        lattice: of the sections after.
    """

    volume: Volume
    lattice: Lattice

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] ids of a box."""
        z, y, x = box
        out = np.empty([s.stop - s.start for s in box], self.volume.dtype)
        for rows, columns in product(_tiles(y), _tiles(x)):
            shown = tuple(_common(tile, s) for tile, s in zip((rows, columns), (y, x), strict=True))
            inside = tuple(slice(a.start - s.start, a.stop - s.start) for a, s in zip(shown, (y, x), strict=True))
            out[(slice(None), *inside)] = self._tile(z, (rows, columns), (shown[0], shown[1]), runtime)
        return out

    def _tile(self, z: slice, tile: tuple[slice, slice], shown: tuple[slice, slice], runtime: Runtime) -> Array:
        """Return what a box shows of a tile."""
        places = [_place(self.lattice, section) for section in range(z.start, z.stop)]
        first = places[0][0]
        last = places[-1][0] + (places[-1][1] > 0)
        around = [
            slice(max(0, s.start - HALO), min(n, s.stop + HALO))
            for s, n in zip(tile, self.volume.shape[1:], strict=True)
        ]
        read = self.volume.read(slice(first, last + 1), *around)
        inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(shown, around, strict=True))
        sections: list[Array] = []
        for below, group in groupby(places, key=itemgetter(0)):
            runtime.cancel.check()
            ts = [t for _, t in group]
            lower = read[below - first]
            made = iter(between(lower, read[below - first + 1], [t for t in ts if t]) if any(ts) else ())
            sections += [(next(made) if t else lower)[inner] for t in ts]
        return np.stack(sections)


def _place(lattice: Lattice, section: int) -> tuple[int, float]:
    """Return the input section at or below an output section, and how far above it that lies, from 0 to below 1."""
    p = min(lattice.count - 1.0, max(0.0, lattice.position(section)))
    p = float(round(p)) if abs(p - round(p)) < SAME else p
    return math.floor(p), p - math.floor(p)


def _tiles(span: slice) -> Iterator[slice]:
    """Yield the tiles that a span has a part of."""
    for start in range(span.start // TILE * TILE, span.stop, TILE):
        yield slice(start, start + TILE)


def _common(a: slice, b: slice) -> slice:
    return slice(max(a.start, b.start), min(a.stop, b.stop))
