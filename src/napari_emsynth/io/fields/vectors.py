"""Vectors as other tools store them, as (dy, dx) px: sources over sources, that read no more than is asked for.

Laws: a vector that leaves its section is refused, for our fields cannot hold it; what is not a number stays one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.stored import Source, Window
from napari_emsynth.volume import Array

# Rounding of other tools: a vector may leave its section by so many of them.
MOST_DZ = 1e-3


@dataclass(frozen=True)
class Interleaved:
    """Vectors [z, c, y, x] of which a file holds the components of each beside one another: [z, y, x c]."""

    source: Source
    components: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections, components, rows, columns."""
        z, y, x = self.source.shape
        return z, self.components, y, x // self.components

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """One section is read at a time."""
        return (1, *self.shape[1:])

    def read(self, box: Window) -> Array:
        """Return a box."""
        z, c, y, x = box
        n = self.components
        found = self.source.read((z, y, slice(n * x.start, n * x.stop)))
        split = found.reshape(*found.shape[:2], -1, n)
        made: Array = np.moveaxis(split, -1, 1)[:, c]
        return made


@dataclass(frozen=True)
class Turned:
    """Vectors [z, c, y, x] of which a file holds one component after the other: [c, z, y, x], or [c, y, x]."""

    source: Source

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections, components, rows, columns."""
        c, *z, y, x = self.source.shape
        return (*(z or (1,)), c, y, x)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """One section is read at a time."""
        return (1, *self.shape[1:])

    def read(self, box: Window) -> Array:
        """Return a box."""
        z, c, y, x = box
        flat = len(self.source.shape) == 3
        found = self.source.read((c, y, x) if flat else (c, z, y, x))
        return found[None] if flat else np.moveaxis(found, 0, 1)


@dataclass(frozen=True)
class InPixels:
    """The :class:`napari_emsynth.io.stored.Source` [z, 2, y, x] of (dy, dx) px of vectors [z, c, y, x].

    Args:
        source: of the vectors.
        places: which components are dz, dy and dx; a dz of None is none.
        per_px: lengths (z, y, x) of a step of one voxel, in the unit of the vectors.
    """

    source: Source
    places: tuple[int | None, int, int]
    per_px: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections, 2, rows, columns."""
        z, _, y, x = self.source.shape
        return z, 2, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is returned."""
        return np.dtype(np.float32)

    @property
    def chunks(self) -> tuple[int, ...]:
        """As the vectors are stored, both components at once."""
        z, _, y, x = self.source.chunks
        return z, 2, y, x

    def read(self, box: Window) -> Array:
        """Return a box.

        Raises:
            InputError: a vector leaves its section.
        """
        z, c, y, x = box
        found = self.source.read((z, slice(0, self.source.shape[1]), y, x)).astype(np.float64)
        dz, *own = self.places
        if dz is not None:
            self._check_flat(found[:, dz] / self.per_px[0], z.start)
        moved = np.stack([found[:, place] / size for place, size in zip(own, self.per_px[1:], strict=True)], 1)
        return np.asarray(moved[:, c], np.float32)

    def _check_flat(self, dz: Array, first: int) -> None:
        """Refuse vectors [z, y, x] that leave their sections.

        Raises:
            InputError: one does.
        """
        far = np.abs(dz)
        if not far.max() <= MOST_DZ:
            at = first + int(np.argmax(~(far.max(axis=(1, 2)) <= MOST_DZ)))
            raise InputError(
                f"vectors leave section {at} by up to {np.nanmax(far) if np.isfinite(far).any() else np.nan:.3g} "
                f"sections, the limit is {MOST_DZ:g}: only displacements along y and x can be used"
            )
