"""Where the sections of an upsampled volume lie among those of the input: index arithmetic only.

With ``k`` the factor, output section ``j`` lies at the input's position ``p``, in sections::

    p_j = j / k                     point sampling: each input section is a thin sample at its centre     (1)
    p_j = (j + 1/2) / k - 1/2       slab sampling: each input section is an average over its thickness    (2)

Laws: under point sampling input section ``z`` reappears at ``j = z k`` wherever that is a whole number; under slab
sampling ``k`` output sections fill one input section exactly, and output sections share input sections where ``k`` is
fractional.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from napari_emsynth.errors import InputError
from napari_emsynth.grid import SAME, Grid
from napari_emsynth.spec import MethodSpec

Sampling = Literal["point", "slab"]
SAMPLINGS: tuple[Sampling, ...] = ("point", "slab")

LOWEST, HIGHEST = 2, 12
# What a user says instead of a factor to get cubic voxels, and how much longer than wide voxels are that need it.
ISOTROPIC = "isotropic"
ELONGATED = 1.5
# Factors this near to a whole one, in parts of it, are taken as whole: then every acquired section has its place.
WHOLE = 0.01
# Two sections are the least that have something between them.
LEAST_SECTIONS = 2


def position(section: int, factor: float, sampling: Sampling) -> float:
    """Return the place of an output section among the input's, (1) or (2)."""
    if sampling == "point":
        p = section / factor  # (1)
        return float(round(p)) if abs(p - round(p)) < SAME else p
    return (section + 0.5) / factor - 0.5  # (2)


@dataclass(frozen=True)
class Lattice:
    """The sections of an upsampled volume.

    Args:
        count: sections of the input.
        factor: output sections a section.
        sampling: what an input section is, see (1) and (2).
    """

    count: int
    factor: float
    sampling: Sampling

    def grid(self, grid: Grid) -> Grid:
        """Return the output's grid."""
        if self.sampling == "point":
            return grid.upsample_point(self.factor)
        return grid.upsample_slab(self.factor)

    @property
    def sections(self) -> range:
        """The output's sections."""
        return range(self.grid(Grid(shape=(self.count, 1, 1))).shape[0])

    def position(self, section: int) -> float:
        """Return the place of an output section among the input's, (1) or (2)."""
        return position(section, self.factor, self.sampling)

    def acquired(self, section: int) -> int | None:
        """Return the input section that an output section is, or None when it lies between two."""
        p = self.position(section)
        return int(p) if self.sampling == "point" and p == int(p) else None

    def nearest(self, section: int) -> int:
        """Return the input section nearest to an output section."""
        return min(self.count - 1, max(0, round(self.position(section))))

    def neighbours(self, section: int) -> tuple[int, int, float]:
        """Return the input sections below and above an output section, and t between them, in [0, 1]."""
        p = min(self.count - 1.0, max(0.0, self.position(section)))
        below = min(self.count - 2, math.floor(p))
        return below, below + 1, p - below

    def sources(self, section: int) -> tuple[int, int]:
        """Return the two input sections that say whether an output section is empty: the same where one says it."""
        if self.sampling == "slab":
            return self.nearest(section), self.nearest(section)
        own = self.acquired(section)
        return self.neighbours(section)[:2] if own is None else (own, own)

    def slabs(self, sections: range, around: int = 0) -> range:
        """Return the input sections that a run of output sections has a part of under slab sampling, and more.

        Args:
            sections: of the output.
            around: input sections more on both sides, where there are any.
        """
        first = math.floor(sections.start / self.factor + SAME)
        last = math.ceil(sections.stop / self.factor - SAME)
        return range(max(0, first - around), min(self.count, last + around))

    def showing(self, sections: slice) -> slice:
        """Return the output sections that show the same as some of the input: of points, from the first to the last."""
        apart = 0.0 if self.sampling == "point" else 1.0
        first, last = (p * self.factor for p in (sections.start, sections.stop - 1 + apart))
        return slice(math.ceil(first - SAME), math.floor(last + SAME) + (1 if self.sampling == "point" else 0))

    def filling(self, slabs: range) -> range:
        """Return the output sections that have a part of a run of input sections under slab sampling."""
        first = math.floor(slabs.start * self.factor + SAME)
        last = math.ceil(slabs.stop * self.factor - SAME)
        return range(first, min(self.sections.stop, last))


def elongation(grid: Grid) -> float | None:
    """Return how much longer than wide voxels are: their height over the mean of width and depth; None if unknown."""
    if grid.voxel_nm is None:
        return None
    z, y, x = grid.voxel_nm
    return z / ((y + x) / 2)


def oblong(grid: Grid) -> list[str]:
    """Return a notice where pixels are no squares, so that no voxel can be a cube."""
    if grid.voxel_nm is None or abs(grid.voxel_nm[1] / grid.voxel_nm[2] - 1) <= WHOLE:
        return []
    _, y, x = grid.voxel_nm
    return [f"pixels of {y:g} x {x:g} nm are no squares: isotropic goes by the mean of both edges, {(y + x) / 2:g} nm"]


def isotropic_factor(grid: Grid) -> float:
    """Return the factor that makes voxels cubes, as near as may be, see :func:`elongation`.

    Raises:
        InputError: an unknown voxel size, voxels that are cubes already, a factor outside 2 to 12.
    """
    vz, vy, vx = grid.needs_voxel_nm("an isotropic result")
    factor, size = elongation(grid), f"{vz:g} x {vy:g} x {vx:g} nm"
    assert factor is not None
    if factor < ELONGATED:
        raise InputError(f"voxels of {size} are already isotropic: nothing to upsample")
    if abs(factor - round(factor)) <= WHOLE * factor:
        factor = float(round(factor))
    if not LOWEST <= factor <= HIGHEST:
        raise InputError(
            f"voxels of {size} need a factor of {factor:.4g} to be isotropic, outside {LOWEST} to {HIGHEST} output "
            "sections a section"
        )
    return factor


def check_sampling(sampling: str) -> Sampling:
    """Return a sampling that there is.

    Raises:
        InputError: an unknown one.
    """
    for known in SAMPLINGS:
        if sampling == known:
            return known
    raise InputError(f"sampling {sampling!r} is not one of {', '.join(SAMPLINGS)}")


def check_number(factor: Any) -> float:
    """Return a factor as a number, a whole one as an integer; text is read as one.

    Raises:
        InputError: not a number, or outside 2 to 12.
    """
    try:
        number = math.nan if isinstance(factor, bool) else float(factor)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"factor {factor!r} is not a number from {LOWEST} to {HIGHEST}, nor {ISOTROPIC!r}")
    if not LOWEST <= number <= HIGHEST:
        raise InputError(f"factor {number:g} is outside {LOWEST} to {HIGHEST} output sections a section")
    return int(number) if number == int(number) else number


def check_factor(spec: MethodSpec, factor: Any, sampling: str) -> tuple[float, Sampling]:
    """Return factor and sampling as the method can do them.

    Raises:
        InputError: an unknown sampling, a factor outside 2 to 12, one or the other beyond the method.
    """
    known, number = check_sampling(sampling), check_number(factor)
    if spec.samplings and known not in spec.samplings:
        raise InputError(f"{spec.name} does {' and '.join(spec.samplings)} sampling, not {known}")
    if spec.factors and number not in spec.factors:
        factors = " or ".join(str(f) for f in spec.factors)
        raise InputError(f"{spec.name} upsamples by {factors}, not by {number:g}; linear does any factor")
    return number, known


def check_sections(count: int) -> None:
    """Refuse a stack that has nothing between its sections.

    Raises:
        InputError: fewer than 2 sections.
    """
    if count < LEAST_SECTIONS:
        raise InputError(f"{count} section has nothing to upsample: the limit is {LEAST_SECTIONS} sections")
