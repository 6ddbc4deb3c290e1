"""A method of your own: one class, one description. Register ``SPEC`` through the entry-point group
``napari_emsynth.methods`` of your package, and the dock, the command line and the API offer it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.params import Params, param
from napari_emsynth.spec import MethodSpec, Runtime


@dataclass(frozen=True, kw_only=True)
class SmoothParams(Params):
    """Every field becomes a widget in the dock and a flag of the command line."""

    sigma: float = param(1.0, "Blur of the mixture.", unit="px", low=0.0, high=10.0, step=0.1)


class Smooth:
    """Mixes the two sections and smooths the mixture."""

    halo = 40  # px that an output pixel may depend on: 4 sigma at most
    factor = 1.0

    def __init__(self, params: SmoothParams) -> None:
        self.sigma = params.sigma

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        runtime.cancel.check()
        mixed = (1 - gap.t) * gap.below + gap.t * gap.above
        return Synthesis(np.asarray(gaussian_filter(mixed, self.sigma), dtype=np.float32))


def build(params: SmoothParams, runtime: Runtime, weights: str | None) -> Smooth:  # noqa: ARG001
    """Called once a process; a network would load its weights here."""
    return Smooth(params)


SPEC = MethodSpec(
    task="interpolate",
    id="smooth",
    title="Smooth",
    summary="Mixes the two neighbouring sections and smooths the mixture.",
    params=SmoothParams,
    build=build,
    has_uncertainty=True,
)

if __name__ == "__main__":
    method = SPEC.build(SmoothParams(sigma=2.0), Runtime(), None)
    rng = np.random.default_rng(0)
    below, above = rng.normal(size=(2, 64, 64)).astype(np.float32)
    print("deviation of the synthesis:", method(Gap(below=below, above=above), Runtime()).mean.std())
