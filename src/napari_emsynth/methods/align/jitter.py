"""Alignment where the truth is known: the user's own sections, moved against each other by known shifts.

``jittered(p) = truth(p + u_z)`` with ``u_z`` (dy, dx) normal of deviation ``sigma`` px, drawn anew for every section.
What comes in from outside the sections is cut off: ``truth`` is smaller than what was read by a margin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.methods.align.job import Job
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.training.stacks import pulled
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Float, Volume

# Nearly all shifts are below so many sigma; larger ones are drawn at this limit.
MOST_SIGMA = 3.0
# The margin may take this share of a small section's edge.
MARGIN_SHARE = 0.25


@dataclass(frozen=True)
class Jittered:
    """Sections with known shifts, and without.

    Args:
        volume: [z, y, x] moved, in memory, margins included.
        whole: [z, y, x] as acquired, margins included.
        margin: px that do not count on every side of a section.
        first: section of the user's volume that is ``whole[0]``.
    """

    volume: Volume
    whole: Array
    margin: int
    first: int

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.whole)

    def inner(self, stack: Array) -> Array:
        """Return the part [z, y, x] of a stack that counts."""
        m, (_, height, width) = self.margin, stack.shape
        return stack[:, m : height - m, m : width - m]

    def aligned(self, request: Request, stack: Volume | None = None) -> Array:
        """Return [z, y, x] the moved volume (or another one) as the request's method aligns it."""
        volume = stack or self.volume
        z, y, x = (slice(0, n) for n in volume.shape)
        return Job.of(request.on(volume))((z, y, x), request.runtime)


def shifts(count: int, sigma: float, seed: int) -> NDArray[np.float64]:
    """Return [count, 2] shifts (dy, dx) in px, normal of deviation ``sigma``; the same for the same seed."""
    drawn = np.random.default_rng((seed, count)).normal(0.0, 1.0, (count, 2))
    return np.clip(drawn, -MOST_SIGMA, MOST_SIGMA) * sigma


def moved(stack: Array, by: NDArray[np.float64]) -> Array:
    """Return every section [y, x] of a stack pulled by its shift, in the stack's dtype; unknown voxels stay.

    Args:
        stack: [z, y, x] any real dtype.
        by: [z, 2] (dy, dx) px.
    """
    out = [_moved(section, u) for section, u in zip(stack, by, strict=True)]
    return np.stack(out)


def _moved(section: Array, u: NDArray[np.float64]) -> Array:
    values: Float = np.asarray(section, np.float32)
    unknown = ~np.isfinite(values)
    if unknown.any():
        values = np.where(unknown, values[~unknown].mean() if not unknown.all() else 0.0, values)
    there = pulled(values, u)
    if unknown.any():
        there[unknown] = np.nan
    return to_dtype(there, section.dtype)


def jitter(volume: Volume, sigma: float, seed: int, *, edge: int, depth: int) -> Jittered:
    """Move the sections in the middle of a volume by known shifts.

    Args:
        volume: [z, y, x].
        sigma: deviation of the shifts, px.
        seed: of the shifts.
        edge: largest size of the middle along y and x, px, without margins.
        depth: most sections.
    """
    margin = int(np.ceil(MOST_SIGMA * sigma))
    margin = min(margin, int(MARGIN_SHARE * min(volume.shape[1:])))
    z = middle(volume.shape[0], depth)
    y, x = (middle(n, edge + 2 * margin) for n in volume.shape[1:])
    whole = volume.read(z, y, x)
    return Jittered(Volume.of(moved(whole, shifts(len(whole), sigma, seed))), whole, margin, z.start)
