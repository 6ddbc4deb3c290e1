"""Super-resolution where the truth is known: the user's own volume, its pixels made coarser.

``coarse = mean of f x f px of truth``, in the source's dtype; made finer by ``f`` it must give ``truth`` again. The
coarse sections are a further ``f`` times coarser than what the user has: how a method fares there tells how it fares on
this tissue, not how it fares at this pixel size. Damaged sections are no truth, and are not seen as neighbours.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import SERVING, middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Drawn, Job
from napari_emsynth.methods.superres.reduction import reduced, repeated
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.trust.intact import nearest_to_middle
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.trust.serving import tissue
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Volume

# What advice calls the rival that leaves pixels as they are.
CALLED = {"nearest": "pixels_as_they_are"}


@dataclass(frozen=True)
class Hidden:
    """A volume made coarser, and what it was.

    Args:
        coarse: the coarser volume, in memory.
        truth: [z, f y, f x] what super-resolution must give.
        factor: f.
        first: section of the user's volume that is ``truth[0]``.
        sections: of the truth that are made finer; the others are what is seen around them.
        damaged: sections of the truth that are damaged.
        empty: [z, f y, f x] True where there is no truth; None where there is everywhere.
    """

    coarse: Volume
    truth: Array
    factor: int
    first: int
    sections: tuple[int, ...]
    damaged: frozenset[int] = frozenset()
    empty: Mask | None = None

    def known(self, section: int) -> Array:
        """Return a section of the truth; as floats, NaN where there is none, where some of the truth is empty."""
        if self.empty is None:
            return np.asarray(self.truth[section])
        return np.where(self.empty[section], np.float32(np.nan), self.truth[section].astype(np.float32))

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.truth[[z for z in range(len(self.truth)) if z not in self.damaged]])

    def job(self, request: Request) -> Job:
        """Return what draws the finer sections by the request's method."""
        return Job.of(request.on(self.coarse), self.factor, self.damaged)

    def drawn(self, job: Job, section: int) -> Drawn:
        """Return a section as a :meth:`job` makes it."""
        _, y, x = self.coarse.shape
        return job.drawn((slice(section, section + 1), slice(0, y), slice(0, x)), job.request.runtime)

    def candidates(self, bicubic: Job, section: int) -> dict[str, Array]:
        """Return what needs no model of a section, [f y, f x] each; ``bicubic`` as a :meth:`job`."""
        return {
            "bicubic": self.drawn(bicubic, section).values[0],
            "nearest": repeated(self.coarse.section(section), self.factor),
        }


def looked_at(request: Request, count: int) -> range:
    """Return the sections from the middle of a volume that are read to make ``count`` of them finer."""
    method = request.built()
    z = middle(request.volume.shape[0], count + 2 * method.context * method.spacing)
    return range(z.start, z.stop)


def hide(
    request: Request, factor: int, *, edge: int, count: int, least: int, damaged: Collection[int] = ()
) -> Hidden | None:
    """Make the pixels of a volume's middle coarser.

    Args:
        request: the volume, and the method that has to see sections around those that it makes finer.
        factor: by which.
        edge: largest size of the coarse middle along y and x, px.
        count: most sections that will be made finer.
        least: smallest size of the coarse middle, px.
        damaged: sections that are damaged.

    Returns:
        None when the volume is too small, or no section is intact or shows anything.
    """
    volume, method = request.volume, request.built()
    chosen, around = nearest_to_middle(volume.shape[0], count, damaged), method.context * method.spacing
    sizes = [min(edge, n // factor) for n in volume.shape[1:]]
    if min(sizes) < least or not chosen:
        return None
    z = slice(max(0, chosen[0] - around), min(volume.shape[0], chosen[-1] + around + 1))
    y, x = (middle(n, size * factor) for n, size in zip(volume.shape[1:], sizes, strict=True))
    acquired = volume.read(z, y, x)
    empty = Emptiness(volume).block(acquired, z, y, x)
    truth = tissue(acquired, empty, SERVING)
    if empty is not None and empty[[s - z.start for s in chosen]].all():
        return None
    coarse = np.stack([to_dtype(reduced(section, factor), truth.dtype) for section in truth])
    here = frozenset(section - z.start for section in damaged if z.start <= section < z.stop)
    return Hidden(Volume.of(coarse), truth, factor, z.start, tuple(s - z.start for s in chosen), here, empty)
