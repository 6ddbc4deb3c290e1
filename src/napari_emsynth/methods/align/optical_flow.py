"""Alignment by classical optical flow: a floor without training.

With ``u`` the flow from the neighbour to the section (``moving(p + u(p)) ~ fixed(p)``) and ``v`` the flow back, an
answer is trusted where the way there and back ends where it began, and where the pulled section looks like its
neighbour::

    e(p) = |u(p) + v(p + u(p))|                                                (1)
    c(p) = exp(-(e(p) / 2 px)^2) clip((r(p) - 0.1) / 0.4, 0, 1)                (2)
    U    = G * (c u) / (G * c)                                                 (3)

with ``r`` the correlation of the two in a Gaussian window, and ``G`` a Gaussian: what is trusted speaks for what is
not. The flow is that of :mod:`napari_emsynth.fields.optical_flow`, with a window as wide as two membranes are apart: of
the windows and the flows we tried on neighbouring sections of three microscopes it follows a known warp best (TV-L1
follows neurites further away from it, and takes twice the time).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_emsynth.fields.optical_flow import enlarged, fits, flow, pull, shrunk
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField
from napari_emsynth.methods.building import unlearned
from napari_emsynth.params import param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# (2): a way back that misses by this much says little; correlations from chance to beyond doubt.
MISS_PX, CHANCE, ALIKE = 2.0, 0.1, 0.5
# The window of the correlation, and the blur that takes the camera's noise out of it.
WINDOW_PX, NOISE_PX = 12.0, 1.0
# Variance below which a window shows nothing, as a share of the section's.
STRUCTURE = 0.01
# A flow that is trusted less than this on average says nothing: between unrelated sections it is 0.01 to 0.07.
ABSTAIN = 0.08
# Of (3): what nobody knows is filled in from far away.
LEAST = 1e-4


@dataclass(frozen=True, kw_only=True)
class OpticalFlowParams(SolvedParams):
    """Parameters of the flow."""

    radius: int = param(15, "Radius of the window that moves as one.", unit="px", low=2, high=64)
    smooth_px: float = param(8.0, "Deviation of the Gaussian that smooths the flow.", unit="px", low=0.0, high=100.0)
    shrink: int = param(
        2, "Estimate the flow on sections so many times smaller; 1 is three times slower.", low=1, high=8
    )
    warps: int = param(10, "Warps at each scale.", low=1, high=100, advanced=True)


class OpticalFlow:
    """The method, with its parameters."""

    how: Literal["pairs"] = "pairs"

    def __init__(self, params: OpticalFlowParams) -> None:
        self.params = params

    def __call__(self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime) -> PairField:
        """Register a section [y, x] onto one neighbour; without an answer where it has no structure."""
        (neighbour,) = fixed
        nodes = tuple(-(-n // self.params.step_px) for n in moving.shape)
        if not fits(moving.shape):
            return PairField(np.zeros((2, *nodes), np.float32), np.zeros(nodes, np.float32))
        by = self.params.shrink if fits(moving.shape, self.params.shrink) else 1
        there = self._flow(neighbour.image, moving, by, runtime)
        back = self._flow(moving, neighbour.image, by, runtime)
        trust = confidence(neighbour.image, moving, there, back)
        if neighbour.known is not None:
            trust = trust * neighbour.known
        if known is not None:
            trust = trust * pull(known.astype(np.float32), there)
        if trust.mean() < ABSTAIN:
            return PairField(np.zeros((2, *nodes), np.float32), np.zeros(nodes, np.float32))
        smooth = smoothed(there, trust, self.params.smooth_px)
        return PairField(np.stack([at_nodes(c, nodes) for c in smooth]), np.clip(at_nodes(trust, nodes), 0, 1))

    def _flow(self, fixed: Float, moving: Float, by: int, runtime: Runtime) -> Float:
        runtime.cancel.check()
        radius = max(2, self.params.radius // by)
        found = flow(shrunk(fixed, by), shrunk(moving, by), radius, self.params.warps)
        return enlarged(found, fixed.shape)


def confidence(fixed: Float, moving: Float, there: Float, back: Float) -> Float:
    """Return (2), [y, x] 0 to 1.

    Args:
        fixed: [y, x] normalised.
        moving: [y, x] normalised.
        there: [2, y, x] px, pulls ``moving`` onto ``fixed``.
        back: [2, y, x] px, pulls ``fixed`` onto ``moving``.
    """
    miss = there + np.stack([pull(c, there) for c in back])
    error = np.hypot(miss[0], miss[1])  # (1)
    alike = correlation(fixed, pull(moving, there))
    likely = np.clip((alike - CHANCE) / (ALIKE - CHANCE), 0, 1)
    return np.asarray(np.exp(-((error / MISS_PX) ** 2)) * likely, np.float32)  # (2)


def correlation(a: Float, b: Float) -> Float:
    """Return the correlation [y, x] of two normalised sections in a Gaussian window; 0 where one shows nothing."""
    a, b = (gaussian_filter(section, NOISE_PX) for section in (a, b))
    mean_a, mean_b, aa, bb, ab = (gaussian_filter(v, WINDOW_PX) for v in (a, b, a * a, b * b, a * b))
    variances = [np.maximum(square - mean**2, STRUCTURE) for square, mean in ((aa, mean_a), (bb, mean_b))]
    return np.asarray((ab - mean_a * mean_b) / np.sqrt(variances[0] * variances[1]), np.float32)


def smoothed(field: Float, trust: Float, sigma: float) -> Float:
    """Return (3), [2, y, x].

    Args:
        field: [2, y, x] px.
        trust: [y, x] 0 to 1.
        sigma: deviation of the Gaussian, px.
    """
    weight = trust + LEAST
    total = gaussian_filter(weight, sigma)
    return np.stack([gaussian_filter(weight * c, sigma) / total for c in field]).astype(np.float32)  # (3)


def at_nodes(image: Float, nodes: tuple[int, ...]) -> Float:
    """Return an image [y, x] at the cell-centred nodes [y', x'] of a coarse grid."""
    where = [(np.arange(n) + 0.5) * full / n - 0.5 for n, full in zip(nodes, image.shape, strict=True)]
    y, x = np.meshgrid(*where, indexing="ij")
    return np.asarray(map_coordinates(image, (y, x), order=1, mode="nearest"), dtype=np.float32)


SPEC = MethodSpec(
    task="align",
    id="optical-flow",
    title="Optical flow",
    summary="Pulls every section onto its neighbours along a classical optical flow, smoothed. No training; a floor "
    "to hold the others against.",
    paper="Le Besnerais & Champagnat 2005",
    params=OpticalFlowParams,
    build=unlearned(OpticalFlow),
    keeps_acquired=False,
    answers="displacement",
)
