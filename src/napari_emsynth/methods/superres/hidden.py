"""Super-resolution where the truth is known: the user's own volume, its pixels made coarser.

``coarse = mean of f x f px of truth``, in the source's dtype; made finer by ``f`` it must give ``truth`` again. The
coarse sections are a further ``f`` times coarser than what the user has: how a method fares there tells how it fares on
this tissue, not how it fares at this pixel size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Drawn, Job
from napari_emsynth.methods.superres.reduction import reduced
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Volume


@dataclass(frozen=True)
class Hidden:
    """A volume made coarser, and what it was.

    Args:
        coarse: the coarser volume, in memory.
        truth: [z, f y, f x] what super-resolution must give.
        factor: f.
        first: section of the user's volume that is ``truth[0]``.
    """

    coarse: Volume
    truth: Array
    factor: int
    first: int

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.truth)

    def middle(self, count: int) -> range:
        """Return up to ``count`` sections from the middle: those with most neighbours."""
        chosen = middle(len(self.truth), count)
        return range(chosen.start, chosen.stop)

    def job(self, request: Request) -> Job:
        """Return what draws the finer sections by the request's method."""
        return Job.of(request.on(self.coarse), self.factor)

    def drawn(self, job: Job, section: int) -> Drawn:
        """Return a section as a :meth:`job` makes it."""
        _, y, x = self.coarse.shape
        return job.drawn((slice(section, section + 1), slice(0, y), slice(0, x)), job.request.runtime)


def hide(request: Request, factor: int, *, edge: int, count: int, least: int) -> Hidden | None:
    """Make the pixels of a volume's middle coarser.

    Args:
        request: the volume, and the method that has to see sections around those that it makes finer.
        factor: by which.
        edge: largest size of the coarse middle along y and x, px.
        count: most sections that will be made finer.
        least: smallest size of the coarse middle, px.

    Returns:
        None when the volume is too small.
    """
    volume, method = request.volume, request.built()
    depth = count + 2 * method.context * method.spacing
    sizes = [min(edge, n // factor) for n in volume.shape[1:]]
    if min(sizes) < least:
        return None
    z = middle(volume.shape[0], depth)
    y, x = (middle(n, size * factor) for n, size in zip(volume.shape[1:], sizes, strict=True))
    truth = volume.read(z, y, x)
    coarse = np.stack([to_dtype(reduced(section, factor), truth.dtype) for section in truth])
    return Hidden(Volume.of(coarse), truth, factor, z.start)
