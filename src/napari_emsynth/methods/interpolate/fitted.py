"""One least-squares filter over up to four sections, fitted on the open volume itself: nothing is learned elsewhere.

``mean(p) = sum_o w_o . P_o(p)``, equation (1) of :mod:`napari_emsynth.models.fitted_filter`; where ``w`` comes from,
and the size of its error, is told by :mod:`napari_emsynth.methods.interpolate.fit`. It is the base of the default
method, and the rival that any network has to beat.
"""

from __future__ import annotations

from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.models.fitted_filter import REACH
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.trust.selfcheck import LAPLACE


class Fitted:
    """The filter that comes with the gap."""

    halo = REACH
    fitted = True
    factor = LAPLACE

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Filter the sections."""
        runtime.cancel.check()
        return Synthesis(gap.fit.mean(gap), gap.fit.scale(gap))


SPEC = MethodSpec(
    task="interpolate",
    id="fitted",
    title="Fitted filter",
    summary="One filter over up to four sections, fitted on the intact sections of this very volume in seconds. "
    "Nothing is learned from other tissue.",
    paper="this package; least squares",
    build=unlearned(lambda _params: Fitted()),
    has_uncertainty=True,
)
