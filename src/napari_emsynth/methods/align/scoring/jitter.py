"""Alignment where the truth is known: the user's own sections, moved against each other by known displacements.

``jittered_z(p) = truth_z(p + k_z(p))``, with ``k_z`` (dy, dx) px drawn anew for every section: a shift, or a smooth
distortion (:mod:`napari_emsynth.fields.distortion`). What comes in from outside the sections is cut off: ``truth`` is
smaller than what was read by a margin. Damaged sections are no truth: those before and after lie next to each other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.job import Job
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.training.samples.stacks import pulled
from napari_emsynth.trust.intact import nearest_to_middle
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.trust.validity import inside
from napari_emsynth.volume import Array, Float, Volume

# Nearly all shifts are below so many sigma; larger ones are drawn at this limit.
MOST_SIGMA = 3.0
# The margin may take this share of a small section's edge.
MARGIN_SHARE = 0.25


@dataclass(frozen=True)
class Jittered:
    """Sections with known displacements, and without.

    Args:
        volume: [z, y, x] moved, in memory, margins included.
        whole: [z, y, x] as acquired, margins included.
        margin: px that do not count on every side of a section.
        sections: of the user's volume that are ``whole``.
        known: [z, 2, y, x] (dy, dx) px, by which the sections were pulled, margins included.
    """

    volume: Volume
    whole: Array
    margin: int
    sections: tuple[int, ...]
    known: Float

    @property
    def peak(self) -> float:
        """The source's 8-bit range."""
        return intensity_range(self.whole)

    def inner(self, stack: Array) -> Array:
        """Return the part [..., y, x] of a stack that counts."""
        m, (height, width) = self.margin, stack.shape[-2:]
        return stack[..., m : height - m, m : width - m]

    def aligned(self, request: Request, stack: Volume | None = None) -> Array:
        """Return [z, y, x] the moved volume (or another one) as the request's method aligns it."""
        volume = stack or self.volume
        z, y, x = (slice(0, n) for n in volume.shape)
        return Job.of(request.on(volume))((z, y, x), request.runtime)


def shifts(count: int, sigma: float, seed: int) -> NDArray[np.float64]:
    """Return [count, 2] shifts (dy, dx) in px, normal of deviation ``sigma``; the same for the same seed."""
    drawn = np.random.default_rng((seed, count)).normal(0.0, 1.0, (count, 2))
    return np.clip(drawn, -MOST_SIGMA, MOST_SIGMA) * sigma


def moved(stack: Array, by: Array) -> Array:
    """Return every section [y, x] of a stack pulled by its displacement, in the stack's dtype; unknown voxels stay.

    Args:
        stack: [z, y, x] any real dtype.
        by: [z, 2] or [z, 2, y, x] (dy, dx) px.
    """
    out = [_moved(section, u) for section, u in zip(stack, by, strict=True)]
    return np.stack(out)


def _moved(section: Array, u: Array) -> Array:
    values: Float = np.asarray(section, np.float32)
    unknown = ~np.isfinite(values)
    if unknown.any():
        values = np.where(unknown, values[~unknown].mean() if not unknown.all() else 0.0, values)
    there = pulled(values, u) if u.ndim == 1 else _bent(values, u)
    if unknown.any():
        there[unknown] = np.nan
    return to_dtype(there, section.dtype)


def _bent(section: Float, u: Array) -> Float:
    """Return ``section(p + u(p))`` by cubic interpolation; what comes from outside is reflected."""
    there = np.indices(section.shape, dtype=np.float32) + u
    return np.asarray(map_coordinates(section, there, order=3, mode="mirror"), np.float32)


def jitter(
    volume: Volume, sigma: float, seed: int, *, edge: int, depth: int, without: Collection[int] = ()
) -> Jittered:
    """Move the sections in the middle of a volume by known shifts.

    Args:
        volume: [z, y, x].
        sigma: deviation of the shifts, px.
        seed: of the shifts.
        edge: largest size of the middle along y and x, px, without margins.
        depth: most sections.
        without: sections that are damaged.
    """
    whole, margin, sections = _middle(volume, MOST_SIGMA * sigma, edge, depth, without)
    by = shifts(len(whole), sigma, seed)
    known = np.broadcast_to(by.astype(np.float32)[:, :, None, None], (len(by), 2, *whole.shape[1:]))
    return Jittered(_like(volume, moved(whole, by)), whole, margin, sections, known)


def distort(
    volume: Volume, distortion: Distortion, seed: int, *, edge: int, depth: int, without: Collection[int] = ()
) -> Jittered:
    """Distort the sections in the middle of a volume by known smooth displacements.

    Args:
        volume: [z, y, x].
        distortion: how strongly.
        seed: of the distortions.
        edge: largest size of the middle along y and x, px, without margins.
        depth: most sections.
        without: sections that are damaged.
    """
    reach = distortion.shift_px + distortion.warp_px + np.deg2rad(distortion.rotation_deg) * edge / 2
    whole, margin, sections = _middle(volume, MOST_SIGMA * reach, edge, depth, without)
    rng = np.random.default_rng((seed, len(whole)))
    known = np.stack([distortion.draw(rng, whole[0].shape) for _ in whole])
    return Jittered(_like(volume, moved(whole, known)), whole, margin, sections, known)


def _middle(
    volume: Volume, reach: float, edge: int, depth: int, without: Collection[int]
) -> tuple[Array, int, tuple[int, ...]]:
    """Return the middle of what is shown with a margin as wide as displacements reach, the margin, and the sections."""
    sections = nearest_to_middle(volume.shape[0], depth, without)
    shown = inside(volume, sections)
    margin = min(int(np.ceil(reach)), int(MARGIN_SHARE * min(s.stop - s.start for s in shown)))
    y, x = (middle_of(s, edge + 2 * margin) for s in shown)
    return np.stack([volume.section(z, y, x) for z in sections]), margin, tuple(sections)


def middle_of(span: slice, edge: int) -> slice:
    """Return the middle of a span, at most ``edge`` long."""
    within = middle(span.stop - span.start, edge)
    return slice(span.start + within.start, span.start + within.stop)


def _like(volume: Volume, stack: Array) -> Volume:
    return Volume.of(stack, voxel_nm=volume.grid.voxel_nm)
