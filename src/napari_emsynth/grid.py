"""Where voxels sit in space: shape, voxel size and origin, and the laws by which operations change them.

Conventions: order is z, y, x; lengths are nm; ``origin_nm`` is the position of the *centre* of voxel (0, 0, 0).

Two grid laws, never one formula:

* inserting sections and *point* upsampling keep voxel centres: ``floor((Z - 1) k) + 1`` sections, origin unchanged;
* *slab* upsampling and lateral super-resolution keep voxel edges: ``floor(s f)`` voxels, origin shifted by
  ``-v/2 + v/(2 f)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_emsynth.errors import InputError

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]

# Voxels outside this range are not electron microscopy: a unit was mixed up (m or mm given as nm).
SMALLEST_VOXEL_NM = 0.01
LARGEST_VOXEL_NM = 100_000.0
# Places this close, in voxels, are the same: a factor that was rounded must not lose a section.
SAME = 1e-6


def check_voxel_nm(voxel_nm: Sequence[float] | None) -> Triple | None:
    """Return ``voxel_nm`` as three floats (z, y, x) in nm, or None when it is unknown.

    Raises:
        InputError: not three numbers, or one outside 0.01 nm to 100 um.
    """
    if voxel_nm is None:
        return None
    try:
        values = tuple(float(v) for v in voxel_nm)
    except (TypeError, ValueError):
        raise InputError(f"voxel size {voxel_nm!r} is not three numbers z, y, x in nm") from None
    if len(values) != 3:
        raise InputError(f"voxel size has {len(values)} numbers, needs 3: z, y, x in nm")
    for axis, value in zip("zyx", values, strict=True):
        if not (math.isfinite(value) and SMALLEST_VOXEL_NM <= value <= LARGEST_VOXEL_NM):
            raise InputError(
                f"voxel size {value:g} nm along {axis} is outside {SMALLEST_VOXEL_NM:g} to {LARGEST_VOXEL_NM:g} nm"
            )
    return (values[0], values[1], values[2])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular grid of voxels.

    Args:
        shape: sections, rows, columns.
        voxel_nm: voxel size (z, y, x) in nm; None when unknown.
        origin_nm: centre of voxel (0, 0, 0) in nm.

    Raises:
        InputError: a shape that is not three positive numbers, or a nonsense voxel size.
    """

    shape: Shape
    voxel_nm: Triple | None = None
    origin_nm: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise InputError(f"a volume has 3 axes z, y, x, not {len(self.shape)} (shape {tuple(self.shape)})")
        if min(self.shape) < 1:
            raise InputError(f"shape {tuple(self.shape)} has an empty axis; every axis needs at least 1 voxel")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "voxel_nm", check_voxel_nm(self.voxel_nm))
        object.__setattr__(self, "origin_nm", tuple(float(o) for o in self.origin_nm))

    def needs_voxel_nm(self, what: str) -> Triple:
        """Return the voxel size, or refuse ``what`` because it is unknown.

        Raises:
            InputError: the voxel size is unknown.
        """
        if self.voxel_nm is None:
            raise InputError(f"{what} needs the voxel size (z,y,x in nm), which this volume does not state")
        return self.voxel_nm

    def insert_sections(self, count: int) -> Grid:
        """Return the grid with ``count`` more sections; centres and origin stay."""
        z, y, x = self.shape
        return replace(self, shape=(z + count, y, x))

    def upsample_point(self, factor: float) -> Grid:
        """Return the grid of point upsampling along z by ``factor``: section centres stay (law 1)."""
        z, y, x = self.shape
        return replace(
            self, shape=(math.floor((z - 1 + SAME) * factor) + 1, y, x), voxel_nm=self._divided((factor, 1, 1))
        )

    def upsample_slab(self, factor: float) -> Grid:
        """Return the grid of slab upsampling along z by ``factor``: the first face stays, and where the number of
        sections times ``factor`` is whole, every face does (law 2).
        """
        return self._split((factor, 1, 1))

    def upsample_lateral(self, factor: int) -> Grid:
        """Return the grid of lateral super-resolution by ``factor``: voxel edges stay (law 2)."""
        return self._split((1, factor, factor))

    def _divided(self, factors: Triple) -> Triple | None:
        if self.voxel_nm is None:
            return None
        v, f = self.voxel_nm, factors
        return (v[0] / f[0], v[1] / f[1], v[2] / f[2])

    def _split(self, factors: Triple) -> Grid:
        z, y, x = (math.floor((n + SAME) * f) for n, f in zip(self.shape, factors, strict=True))
        shape = (z, y, x)
        if self.voxel_nm is None:
            return replace(self, shape=shape)
        shift = [o - v / 2 + v / (2 * f) for o, v, f in zip(self.origin_nm, self.voxel_nm, factors, strict=True)]
        return Grid(shape=shape, voxel_nm=self._divided(factors), origin_nm=(shift[0], shift[1], shift[2]))
