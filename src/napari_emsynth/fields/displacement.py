"""A displacement field of a volume: for every section, where each pixel comes from.

``aligned_z(p) = z(p + u_z(p))``, ``u`` = (dy, dx) px of the volume's sections. It is kept on coarse cell-centred nodes,
or with one node to a pixel, and is a smooth function in between (:mod:`napari_emsynth.fields.lattice`).

Laws: any crop of the dense field equals the crop of the whole; a field found on a binned copy, resized, moves the
full-size volume by the same lengths; a limited field has no vector beyond its limit, between nodes too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.lattice import GAIN, Float64, Taps, at_points, node_places, on_grid
from napari_emsynth.grid import Shape, Triple
from napari_emsynth.volume import Array, Float

# Vectors are shortened to a hair below the limit: rounding must not carry them over it.
HAIR = 1.0 - 1e-6
Span = slice | None


@dataclass(frozen=True, eq=False)
class Displacement:
    """The displacements of a volume's sections.

    Args:
        data: [z, 2, y', x'] float32 (dy, dx) px of the full-size section at the nodes; numpy, memmap, zarr or dask.
        shape: sections, rows, columns of the volume it serves; y' and x' do not exceed its rows and columns.
        voxel_nm: voxel size (z, y, x) of that volume; None when unknown.
        limit_nm: no vector is longer than this; None for no limit. Needs the voxel size.

    Raises:
        InputError: not [z, 2, y', x'], another number of sections, more nodes than pixels, a limit without a voxel
            size or not above zero.
    """

    data: Any
    shape: Shape
    voxel_nm: Triple | None = None
    limit_nm: float | None = None

    def __post_init__(self) -> None:
        found = tuple(self.data.shape)
        if len(found) != 4 or found[1] != 2 or min(found) < 1:
            raise InputError(f"a displacement field of shape {found} is not z, 2 (dy, dx), y, x")
        z, y, x = (int(n) for n in self.shape)
        object.__setattr__(self, "shape", (z, y, x))
        if found[0] != z:
            raise InputError(f"the displacement field has {found[0]} sections, the volume {z}")
        if found[2] > y or found[3] > x:
            raise InputError(
                f"the displacement field has {found[2]} x {found[3]} nodes, the volume's sections {y} x {x} px"
            )
        if self.limit_nm is not None:
            check_limit(self.limit_nm, self.voxel_nm)

    @classmethod
    def zero(cls, shape: Shape, step: int = 1, voxel_nm: Triple | None = None) -> Displacement:
        """Return the field that moves nothing, with a node to every ``step`` px."""
        z, y, x = shape
        return cls(np.zeros((z, 2, math.ceil(y / step), math.ceil(x / step)), np.float32), shape, voxel_nm)

    @property
    def nodes(self) -> tuple[int, int]:
        """Nodes along y and x."""
        return int(self.data.shape[2]), int(self.data.shape[3])

    @property
    def is_lazy(self) -> bool:
        """True when the nodes come from a file or are computed as they are read."""
        return not isinstance(self.data, np.ndarray) or isinstance(self.data, np.memmap)

    def section(self, z: int, y: Span = None, x: Span = None) -> Float:
        """Return the nodes [2, y', x'] of one section, or a window of them, as they are kept."""
        part = self.data[z, :, y or slice(None), x or slice(None)]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")
        return np.asarray(part, np.float32)

    def dense(self, z: int, y: Span = None, x: Span = None) -> Float:
        """Return the field [2, h, w] of one section, or of a window of it, a vector to every pixel.

        Args:
            z: section.
            y: rows; None takes all.
            x: columns; None takes all.
        """
        rows, columns = (range(n)[s or slice(None)] for n, s in zip(self.shape[1:], (y, x), strict=True))
        window = (slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        if self.nodes == self.shape[1:]:
            return np.asarray(self._kept_short(self.section(z, *window)))
        down, across = (
            Taps.at(np.arange(r.start, r.stop, dtype=np.float64), nodes, length)
            for r, nodes, length in zip((rows, columns), self.nodes, self.shape[1:], strict=True)
        )
        return np.asarray(self._kept_short(on_grid(self.section(z, down.span, across.span), down, across)))

    def at(self, z: int, y: Float64, x: Float64) -> Float64:
        """Return the field [2, p] at places of one section that need not be whole pixels.

        Args:
            z: section.
            y: [p] px; beyond the section the nearest place in it answers.
            x: [p] px.
        """
        if not len(y):
            return np.zeros((2, 0))
        down, across = (
            Taps.at(np.asarray(p, np.float64), nodes, length)
            for p, nodes, length in zip((y, x), self.nodes, self.shape[1:], strict=True)
        )
        return np.asarray(self._kept_short(at_points(self.section(z, down.span, across.span), down, across)))

    def reach(self, z: int, y: slice, x: slice) -> tuple[Float, Float]:
        """Return bounds (lowest, highest), each [2] (dy, dx) px, of the field in a window; they need not be met."""
        if self.nodes == self.shape[1:]:
            found = self.section(z, y, x)
            return self._with_zero(found.min(axis=(1, 2)), found.max(axis=(1, 2)))
        taps = [
            Taps.at(np.array([s.start, s.stop - 1], np.float64), nodes, length)
            for s, nodes, length in zip((y, x), self.nodes, self.shape[1:], strict=True)
        ]
        wide = self.section(z, taps[0].span, taps[1].span)
        for axis, t in enumerate(taps):
            wide = t.extended(wide, axis + 1)[0]
        low, high = wide.min(axis=(1, 2)), wide.max(axis=(1, 2))
        # (1) along both axes leaves the nodes' range by half of GAIN^2 - 1 of it at most, on either side.
        more = (high - low) * (GAIN**2 - 1) / 2
        return self._with_zero(low - more, high + more)

    def _with_zero(self, low: Float, high: Float) -> tuple[Float, Float]:
        """Return bounds that hold for shortened vectors too: they end nearer to zero."""
        return (low, high) if self.limit_nm is None else (np.minimum(low, 0), np.maximum(high, 0))

    def magnitude(self, z: int) -> Float:
        """Return the lengths [y', x'] px of one section's vectors, at the nodes."""
        return np.asarray(np.hypot(*self._kept_short(self.section(z))), np.float32)

    def largest_px(self) -> Float:
        """Return the longest vector [z] px of every section, at the nodes."""
        return np.array([self.magnitude(z).max() for z in range(self.shape[0])], np.float32)

    def resized(self, shape: Shape) -> Displacement:
        """Return the field for the same tissue sampled with another number of pixels, its vectors scaled.

        Raises:
            InputError: another number of sections.
        """
        if tuple(shape) == self.shape:
            return self
        factors = [new / old for new, old in zip(shape[1:], self.shape[1:], strict=True)]
        scale = np.array(factors, np.float32)[:, None, None]
        nodes = (min(self.nodes[0], shape[1]), min(self.nodes[1], shape[2]))
        return Displacement(
            self.mapped(lambda z: scale * self.on_nodes(z, nodes), nodes),
            shape,
            None
            if self.voxel_nm is None
            else (self.voxel_nm[0], self.voxel_nm[1] / factors[0], self.voxel_nm[2] / factors[1]),
            self.limit_nm,
        )

    def of_voxels(self, voxel_nm: Triple | None) -> Displacement:
        """Return the same field, its volume's voxels being of this size (z, y, x) in nm."""
        return self if voxel_nm == self.voxel_nm else replace(self, voxel_nm=voxel_nm)

    def limited(self, nm: float) -> Displacement:
        """Return the field with longer vectors shortened to ``nm``, their direction kept.

        Raises:
            InputError: a limit not above zero; the voxel size is unknown.
        """
        check_limit(nm, self.voxel_nm)
        least = replace(self, limit_nm=nm if self.limit_nm is None else min(nm, self.limit_nm))
        return replace(least, data=self.mapped(lambda z: least._kept_short(self.section(z)), self.nodes))

    def on_nodes(self, z: int, nodes: tuple[int, int]) -> Float:
        """Return one section's field [2, *nodes] at the places of another lattice."""
        if nodes == self.nodes:
            return self.section(z)
        down, across = (
            Taps.at(node_places(n, length), own, length)
            for n, own, length in zip(nodes, self.nodes, self.shape[1:], strict=True)
        )
        return on_grid(self.section(z, down.span, across.span), down, across)

    def mapped(self, section: Callable[[int], Array], nodes: tuple[int, int]) -> Any:
        """Return [z, 2, *nodes] made section by section: now, or as it is read when the field's own nodes are lazy."""
        count = self.shape[0]
        if not self.is_lazy:
            out = np.empty((count, 2, *nodes), np.float32)
            for z in range(count):
                out[z] = section(z)
            return out
        import dask.array as da

        return da.map_blocks(
            _Sections(section),
            chunks=((1,) * count, (2,), (nodes[0],), (nodes[1],)),
            dtype=np.float32,
            meta=np.empty((0, 0, 0, 0), np.float32),
            name=f"field-{uuid4().hex}",
        )

    def _kept_short(self, vectors: Any) -> Any:
        """Return vectors [2, ...] px with those beyond the limit shortened."""
        if self.limit_nm is None or self.voxel_nm is None:
            return vectors
        length = np.hypot(vectors[0] * self.voxel_nm[1], vectors[1] * self.voxel_nm[2])
        far = length > self.limit_nm * HAIR
        return vectors * np.where(far, self.limit_nm * HAIR / np.where(far, length, 1), 1).astype(vectors.dtype)


class _Sections:
    """Makes the section that dask asks for."""

    def __init__(self, section: Callable[[int], Array]) -> None:
        self.section = section

    def __call__(self, block_info: Any = None) -> Array:
        return np.asarray(self.section(int(block_info[None]["array-location"][0][0])), np.float32)[None]


def check_limit(nm: float, voxel_nm: Triple | None) -> None:
    """Refuse a limit on displacements that means nothing.

    Raises:
        InputError: not a finite number above zero; the voxel size is unknown.
    """
    if not (math.isfinite(nm) and nm > 0):
        raise InputError(f"a largest displacement of {nm:g} nm is not above the limit of 0 nm")
    if voxel_nm is None:
        raise InputError(
            f"a largest displacement of {nm:g} nm needs the voxel size (z,y,x in nm), which this volume does not state"
        )
