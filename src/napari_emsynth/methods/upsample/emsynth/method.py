"""Our own default: sections between sections, seen in the reslices and along z.

Two experts answer a voxel with a mean and a scale of its error; whoever is surer there has more say (inverse variance,
:mod:`napari_emsynth.methods.upsample.emsynth.fuse`), as far as held-out blocks show that it is to be believed
(:data:`~napari_emsynth.methods.upsample.emsynth.recipe.TRUST`):

* *reslice*: the xz and yz planes, guessed by kriging and sharpened
(:mod:`napari_emsynth.methods.upsample.emsynth.reslice`); * *along z*: the xy plane between the acquired sections below
and above
  (:mod:`napari_emsynth.methods.upsample.emsynth.z_expert`); asked under point sampling only.

Both start from the best linear guess that the volume itself tells of (:mod:`napari_emsynth.methods.upsample.kriging`).
The first network learned from volumes that were made coarser by the operator that acquired yours, the other is the one
that synthesises missing sections. Point sampling copies the
acquired sections. Under slab sampling the answer is a guess of what was averaged, and is moved to where slab means hold
(:mod:`napari_emsynth.methods.upsample.acquisition`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.upsample.emsynth import reslice, z_expert as between
from napari_emsynth.methods.upsample.emsynth.recipe import TRUST, Accurate, asked, asked_alone
from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.models.upsampling_experts import Experts
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# Sections that kriging needs beyond what the networks look at.
MORE = 3


class Emsynth:
    """The built method: the networks and what their card says."""

    kriges = True

    def __init__(self, networks: Experts, factor: float) -> None:
        self.networks, self.factor = networks.eval(), factor

    def halo(self, factor: float) -> tuple[int, int, int]:
        """Voxels looked at."""
        px = max(reslice.PX, between.PX)
        return math.ceil(reslice.reach(factor) / factor) + MORE, px, px

    def trust(self, factor: float, sampling: Sampling) -> Mapping[str, float]:  # noqa: ARG002 - the common signature
        """How far each expert is to be believed, by name."""
        return TRUST[sampling]

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Ask the experts that are trusted."""
        return asked(self.networks, block, ask, runtime)

    def in_plane(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Ask the reslice expert, plane by plane."""
        return asked_alone(self.networks, block, ask, runtime)


SPEC = MethodSpec(
    task="upsample",
    id="emsynth",
    title="EMSynth",
    summary="Any factor from 2 to 12: sharpens the reslices and follows what moves between sections, with an error "
    "estimate. Keeps every acquired section (point), or its average (slab).",
    paper="this package; back-projection after Irani and Peleg 1991",
    build=learned(Accurate, lambda networks, card, _params: Emsynth(networks, card.factor)),
    weights=("accurate",),
    has_uncertainty=True,
    recipes={"accurate": Accurate},
    samplings=("point", "slab"),
)
