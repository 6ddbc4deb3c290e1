"""How ``upsample/emsynth`` is trained: both of its networks at once, each on its own lessons.

The reslice network learns from planes that were made coarser by the operator that users meet, which every volume offers
(:mod:`napari_emsynth.methods.upsample.emsynth.reslice_samples`). The network that looks along z is that of
``interpolate/emsynth``, and learns as it does there, where voxels are isotropic; elsewhere it stays as it is. They are
judged together, as they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.interpolate.emsynth import recipe as sections
from napari_emsynth.methods.upsample.emsynth.fuse import fused
from napari_emsynth.methods.upsample.emsynth.reslice import reslice
from napari_emsynth.methods.upsample.emsynth.reslice_samples import PlaneLessons
from napari_emsynth.methods.upsample.emsynth.z_expert import between
from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.methods.upsample.scoring.held_out import Case, held_out_factor, held_out_scores
from napari_emsynth.models.upsampling_experts import Config, Experts
from napari_emsynth.spec import Runtime
from napari_emsynth.training import recipe
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.samples.planes import Simulation
from napari_emsynth.volume import Float
from napari_emsynth.weights import store

# Pixel sizes the training samples stand for: 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)


# How far each expert's variance is believed, beside the other's, on held-out blocks: under point sampling both alike,
# which gives 0.03 dB (x2) to 0.14 dB (x8) over the better of the two. Slabs are asked of the reslices alone.
TRUST: Mapping[Sampling, Mapping[str, float]] = {
    "point": {"reslice": 1.0, "along z": 1.0},
    "slab": {"reslice": 1.0, "along z": 0.0},
}


def asked(
    networks: Experts, block: Float, ask: Ask, runtime: Runtime, names: Collection[str] | None = None
) -> tuple[Expert, ...]:
    """Ask networks, in eval mode, for sections of a block [z, y, x].

    Args:
        networks: both.
        block: [z, y, x] acquired, normalised.
        ask: which sections.
        runtime: how to compute.
        names: of the experts; None for those that are trusted, see :data:`TRUST`.
    """
    ways: dict[str, Callable[[], tuple[Float, Float]]] = {
        "reslice": lambda: reslice(networks.reslices, block, ask, runtime),
        "along z": lambda: between(networks.sections, block, ask, runtime),
    }
    wanted = names or [name for name, trust in TRUST[ask.sampling].items() if trust > 0]
    return tuple(Expert(name, *way()) for name, way in ways.items() if name in wanted)


def asked_alone(networks: Experts, block: Float, ask: Ask, runtime: Runtime) -> tuple[Expert, ...]:
    """Ask for sections of a block [z, planes, x] whose planes are no neighbours: only single reslices help there."""
    return (Expert("reslice", *reslice(networks.reslices, block, ask, runtime, sides=False)),)


class Accurate(recipe.Recipe):
    """Gradient descent on both losses.

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of each network as JSON, None for the defaults.
        simulation: what is simulated.
        batch: planes a step; a quarter as many missing sections.
        size: crop edge in px.
        only: "reslices" or "sections" trains one network, so that two runs can go side by side.
    """

    method = "upsample/emsynth"
    objective = "accurate"
    voxel_nm = VOXEL_NM
    architecture, sizes = Experts, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation = Simulation(),
        batch: int = 8,
        size: int = 96,
        only: str | None = None,
    ) -> None:
        self.data, self.start = data, start
        self.config = Config.from_json(config or {})
        self.planes: PlaneLessons | None = None
        self.sections: sections.Recipe | None = None
        if only != "sections":
            self.planes = PlaneLessons(
                data, planes=self.config.reslices.planes, count=batch, size=size, simulation=simulation
            )
        if only != "reslices" and len(data.axes) == 3:
            self.sections = sections.Recipe(data, batch=max(1, batch // 4), size=size)

    def network(self) -> nn.Module:
        """Build the networks to train; without starting weights the one that looks along z has learned already."""
        network = super().network()
        if self.start is None and self.config == Config():
            assert isinstance(network, Experts)
            learned, _ = store.load(sections.Recipe.method, sections.Recipe.objective)
            store.fill(network.sections, learned, "to start from", sections.Recipe.method)
        return network

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Return the sum of the losses, with their terms."""
        assert isinstance(network, Experts)
        losses, terms = [], dict[str, Tensor | float]()
        if self.planes is not None:
            loss, figures = self.planes.loss(network.reslices, rng, device)
            losses.append(loss)
            terms |= figures
        if self.sections is not None:
            loss, others = self.sections.loss(network.sections, rng, device)
            losses.append(loss)
            terms |= {f"{name}_along": value for name, value in others.items()}
        return torch.stack(losses).sum(), terms

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR in dB of held-out blocks, beside the stretched volume; ``score`` is the mean gain over it."""
        return held_out_scores(self.data, lambda case: answer(network, case, device))

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and by what scales are multiplied to cover 90 %."""
        factor = held_out_factor(self.data, lambda case: answer(network, case, device))
        return super().facts(network, device) | {"factor": factor}


def answer(network: nn.Module, case: Case, device: torch.device) -> tuple[Float, Float]:
    """Return what the networks say together of a held-out block: mean and scale [n, y, x]."""
    assert isinstance(network, Experts)
    ask = Ask(range(len(case.truth)), case.factor, case.sampling, likeness=case.likeness)
    experts = (asked if case.sides else asked_alone)(network, case.thick, ask, Runtime(device=str(device)))
    mean, scale = fused(experts, TRUST[case.sampling])
    assert scale is not None
    return mean, scale
