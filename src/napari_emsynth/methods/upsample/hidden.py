"""Upsampling where the truth is known: the user's own volume, made coarser along z.

``thin = truth[::k]`` under point sampling, ``thin[i] = mean(truth[i k : (i + 1) k])`` under slab sampling; upsampled by
``k`` it must give ``truth`` again. Under point sampling only the sections left out count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import LEAST_SECTIONS, Lattice, Sampling
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Float, Volume


@dataclass(frozen=True)
class Hidden:
    """A volume made coarser, and what it was.

    Args:
        thin: the coarser volume, in memory.
        truth: [z, y, x] what upsampling it must give.
        lattice: from ``thin`` to ``truth``.
        first: section of the user's volume that is ``truth[0]``.
    """

    thin: Volume
    truth: Array
    lattice: Lattice
    first: int

    @property
    def sections(self) -> list[int]:
        """Sections of the truth that were hidden."""
        return [j for j in range(len(self.truth)) if self.lattice.acquired(j) is None]

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.truth)

    def upsampled(self, request: Request, sections: slice | None = None) -> Array:
        """Return [z, y, x] the thin volume upsampled by the request's method: all of it, or some sections."""
        job = Job.of(request, self.lattice)
        z = sections or slice(0, len(self.truth))
        return job((z, slice(0, self.truth.shape[1]), slice(0, self.truth.shape[2])), request.runtime)

    def linear(self, section: int) -> tuple[Float, Float, float]:
        """Return the thin sections below and above a hidden one, float32 [y, x], and t between them."""
        below, above, t = self.lattice.neighbours(section)
        a, b = (self.thin.section(z).astype(np.float32) for z in (below, above))
        return a, b, t


def hide(volume: Volume, factor: int, sampling: Sampling, *, edge: int, depth: int) -> Hidden | None:
    """Make the middle of a volume coarser.

    Args:
        volume: [z, y, x].
        factor: by which.
        sampling: how.
        edge: largest size of the middle along y and x, px.
        depth: most sections to read.

    Returns:
        None when there are too few sections.
    """
    count = min(volume.shape[0], depth)
    used = (count - 1) // factor * factor + 1 if sampling == "point" else count // factor * factor
    kept = -(-used // factor)
    if kept < LEAST_SECTIONS:
        return None
    z = middle(volume.shape[0], used)
    truth = volume.read(z, middle(volume.shape[1], edge), middle(volume.shape[2], edge))
    thin = truth[::factor] if sampling == "point" else _means(truth, factor)
    return Hidden(Volume.of(thin), truth, Lattice(kept, factor, sampling), z.start)


def _means(truth: Array, factor: int) -> Array:
    """Return the mean of every ``factor`` sections, in the source's dtype."""
    slabs = truth.reshape(-1, factor, *truth.shape[1:]).mean(axis=1, dtype=np.float64)
    return to_dtype(slabs.astype(np.float32), truth.dtype)
