"""Linear interpolation between two sections: the floor every network has to beat.

``mean = (1 - t) below + t above``   (1)
"""

from __future__ import annotations

from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.spec import MethodSpec, Runtime


class Linear:
    """Equation (1)."""

    halo = 0
    factor = 1.0

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Mix the two sections."""
        runtime.cancel.check()
        return Synthesis((1 - gap.t) * gap.below + gap.t * gap.above)  # (1)


SPEC = MethodSpec(
    task="interpolate",
    id="linear",
    title="Linear",
    summary="Mixes the two neighbouring sections. Fast and safe; doubles what moves between them.",
    build=unlearned(lambda _params: Linear()),
    has_uncertainty=True,
)
