"""Upsampling where the truth is known: the user's own volume, made coarser.

Along z sections are left out (point) or averaged (slab); upsampled by the same factor they must give what they were.
In plane the rows of xy sections are posed as sections and made coarser by the same operator: that tests a method at the
distances at which it will be used, where voxels are as much longer than wide as the factor says. Under point sampling
only what was left out counts; damaged sections never do, nor do those next to them where there are others.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from napari_emsynth.grid import SAME
from napari_emsynth.methods.blocks import SERVING, middle, spread
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import LEAST_SECTIONS, Lattice, Sampling
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.trust.serving import tissue
from napari_emsynth.trust.validity import Emptiness, stacked
from napari_emsynth.volume import Array, Float, Volume

# Sections whose rows are posed as sections.
PLANES = 8


@dataclass(frozen=True)
class Hidden:
    """A volume made coarser, and what it was.

    Args:
        thin: the coarser volume, in memory.
        truth: [z, y, x] what upsampling it must give.
        lattice: from ``thin`` to ``truth``.
        first: section of the user's volume that is ``truth[0]``; of no meaning in plane.
        rows_of: the user's volume where its rows are posed as sections, and sections as rows; None along z.
        unfit: sections of the truth that nobody acquired: they were repaired.
        empty: [z, y, x] True where there is no truth: nothing is scored there; None where there is everywhere.
    """

    thin: Volume
    truth: Array
    lattice: Lattice
    first: int = 0
    rows_of: Volume | None = None
    unfit: Collection[int] = ()
    empty: Mask | None = None

    def scored(self, stack: Array) -> Array:
        """Return what is scored of a stack [z, y, x]: its hidden sections, but for what is empty."""
        here = self.sections
        return stack[here] if self.empty is None else stack[here][~self.empty[here]]

    def known(self, sections: int | list[int]) -> Array:
        """Return sections of the truth; as floats, NaN where there is none, where some of the truth is empty."""
        if self.empty is None:
            return self.truth[sections]
        return np.where(self.empty[sections], np.float32(np.nan), self.truth[sections].astype(np.float32))

    @property
    def sections(self) -> list[int]:
        """Sections of the truth that were hidden: those between acquired ones, where there are any."""
        hidden = [j for j in range(len(self.truth)) if self.lattice.acquired(j) is None and j not in self.unfit]
        repaired = self.repaired
        return [j for j in hidden if repaired.isdisjoint(self.lattice.neighbours(j)[:2])] or hidden

    @property
    def repaired(self) -> frozenset[int]:
        """Thin sections that are repaired ones, or averages over some."""
        if self.lattice.sampling == "slab":
            return frozenset(m for j in self.unfit for m in self.lattice.slabs(range(j, j + 1)))
        acquired = (self.lattice.acquired(j) for j in self.unfit)
        return frozenset(m for m in acquired if m is not None)

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.truth)

    @property
    def called(self) -> dict[str, str]:
        """What advice calls rivals: linear interpolation breaks slab means, and no method gives that."""
        return {"linear": "linear_not_back_projected"} if self.lattice.sampling == "slab" else {}

    def job(self, request: Request) -> Job:
        """Return what upsamples the thin volume by a request's method."""
        return Job.of(request.on(self.thin), self.lattice, rows_of=self.rows_of)

    def drawn(self, job: Job) -> tuple[Array, Float]:
        """Return [z, y, x] the thin volume upsampled, and the half width of its interval."""
        z, y, x = (slice(0, n) for n in self.truth.shape)
        return job.together((z, y, x), job.request.runtime)

    def guessed(self, job: Job) -> Array:
        """Return [z, y, x] the same before any back-projection."""
        z, y, x = self.truth.shape
        guess = job.guess(range(z), slice(0, y), slice(0, x), job.request.runtime)
        return job.norm.inverse(guess.mean)

    def linear(self, section: int) -> tuple[Float, Float, float]:
        """Return the thin sections below and above a hidden one, float32 [y, x], and t between them."""
        below, above, t = self.lattice.neighbours(section)
        a, b = (self.thin.section(z).astype(np.float32) for z in (below, above))
        return a, b, t


def hide(
    volume: Volume, factor: float, sampling: Sampling, *, edge: int, depth: int, unfit: Collection[int] = ()
) -> Hidden | None:
    """Make the middle of a volume coarser along z.

    Args:
        volume: [z, y, x], what is damaged repaired.
        factor: by which; whole under point sampling.
        sampling: how.
        edge: largest size of the middle along y and x, px.
        depth: most sections to read.
        unfit: sections that are damaged, or were repaired.

    Returns:
        None when there are too few sections, or all that could be hidden are unfit.
    """
    used = _used(min(volume.shape[0], depth), factor, sampling)
    z = middle(volume.shape[0], used)
    y, x = middle(volume.shape[1], edge), middle(volume.shape[2], edge)
    truth = volume.read(z, y, x)
    empty = Emptiness(volume).block(truth, z, y, x)
    hidden = _coarser(tissue(truth, empty, SERVING), factor, sampling)
    if hidden is None:
        return None
    thin, voxel = hidden.thin, volume.grid.voxel_nm
    if voxel is not None:
        thin = Volume.of(thin, voxel_nm=(voxel[0] * factor, *voxel[1:]))
    here = frozenset(section - z.start for section in unfit if z.start <= section < z.stop)
    hidden = Hidden(thin, hidden.truth, hidden.lattice, z.start, unfit=here, empty=_first(empty, hidden))
    return hidden if hidden.sections and hidden.scored(hidden.truth).size else None


def hide_in_plane(
    volume: Volume, factor: float, sampling: Sampling, *, edge: int, planes: int = PLANES, unfit: Collection[int] = ()
) -> Hidden | None:
    """Make the middle of some intact sections coarser along y, their rows posed as sections: [y, z, x].

    Args:
        volume: [z, y, x].
        factor: by which; whole under point sampling.
        sampling: how.
        edge: largest size of the middle along y and x, px.
        planes: most sections to take, spread over the volume.
        unfit: sections that are damaged, or were repaired.

    Returns:
        None when there are too few rows, or no section is intact.
    """
    chosen = spread(volume.shape[0], planes, unfit)
    if not set(chosen).isdisjoint(unfit):
        return None
    rows = middle(volume.shape[1], _used(min(volume.shape[1], edge), factor, sampling))
    columns = middle(volume.shape[2], edge)
    sections = [volume.section(z, rows, columns) for z in chosen]
    masks = [Emptiness(volume).section(z, rows, columns, s) for z, s in zip(chosen, sections, strict=True)]
    empty = stacked(masks, sections[0].shape)
    # Planes are no neighbours of each other: none serves another.
    truth = np.ascontiguousarray(tissue(np.stack(sections), empty, 0).swapaxes(0, 1))
    empty = None if empty is None else empty.swapaxes(0, 1)
    hidden = _coarser(truth, factor, sampling)
    if hidden is None:
        return None
    hidden = replace(hidden, rows_of=volume, empty=_first(empty, hidden))
    return hidden if hidden.scored(hidden.truth).size else None


def _used(count: int, factor: float, sampling: Sampling) -> int:
    """Return of how many of ``count`` sections some thick ones are made."""
    if sampling == "point":
        return int((count - 1) // factor * factor) + 1
    return math.ceil(max(1, math.floor(count / factor + SAME)) * factor - SAME)


def _coarser(truth: Array, factor: float, sampling: Sampling) -> Hidden | None:
    """Return a stack made coarser, in its own dtype; None when next to nothing is left."""
    thick = degraded(truth, factor, sampling)
    if len(thick) < LEAST_SECTIONS:
        return None
    thin, lattice = Volume.of(to_dtype(thick, truth.dtype)), Lattice(len(thick), factor, sampling)
    # The last thick section of a fractional factor may end within a section that is not given again.
    return Hidden(thin, truth[: lattice.sections.stop], lattice)


def _first(empty: Mask | None, hidden: Hidden) -> Mask | None:
    """Return the mask of as much as is hidden."""
    return None if empty is None else empty[: len(hidden.truth)]
