"""How the single-stage network is trained, one recipe a factor.

With the answer ``y'`` and the length ``b`` of its expected error against the fine section ``y``::

    loss = |y' - y| + |y' - y|^2 + 0.1 (|y' - y| / b + log b)                                  (1)

where the last term teaches ``b`` alone. Both powers of the error are ours: the first is what super-resolution networks
are trained on as a rule, the second what PSNR counts.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.confidence import measured
from napari_emsynth.methods.superres.scoring.held_out import answered, held_out_cases, held_out_scores
from napari_emsynth.models.gpemsr.gpemsr import direct_path
from napari_emsynth.models.single_stage import Config, SingleStage
from napari_emsynth.training import recipe
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.samples.reductions import ReducedSections, Simulation

# Pixel sizes in nm of the fine sections that the samples stand for: 10 nm, magnified 0.6 to 1.6 times.
FINE_NM = (6.0, 17.0)


class Recipe(recipe.Recipe):
    """What is common to both factors (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, of this network or of a GPEMSR whose direct path is one; or None.
        config: sizes of the network as JSON, None for the defaults.
        simulation: what is simulated; None for the defaults.
        batch: samples a step.
        size: edge of the fine crops in px; None for 20 low-resolution px and at least 256 px.

    Raises:
        InputError: a configuration of another factor.
    """

    method = "superres/single-stage"
    architecture, sizes = SingleStage, Config
    factor: int

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation | None = None,
        batch: int = 6,
        size: int | None = None,
    ) -> None:
        self.data, self.count = data, batch
        self.start = direct_path(start) if start is not None and "direct.weight" in start else start
        self.config = Config.from_json({"factor": self.factor} | (config or {}))
        if self.config.factor != self.factor:
            raise InputError(
                f"objective {self.objective} trains networks of factor {self.factor}, "
                f"these weights are of factor {self.config.factor}"
            )
        self.voxel_nm = (FINE_NM[0] * self.factor, FINE_NM[1] * self.factor)
        self.samples = ReducedSections(
            data.blocks,
            factor=self.factor,
            axes=data.axes,
            sections=self.config.sections,
            size=size or max(256, 20 * self.factor),
            simulation=simulation or Simulation(),
        )

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Draw a batch and return (1) with its terms."""
        batch = self.samples.batch(rng, self.count).to(device)
        mean, log_scale = network(batch.low)
        error = mean - batch.fine
        absolute, square = error.abs().mean(), error.square().mean()
        likelihood = (error.abs().detach() * torch.exp(-log_scale) + log_scale).mean()
        loss = absolute + square + 0.1 * likelihood  # (1)
        return loss, {"l1": absolute, "mse": square}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the scores on held-out sections that :mod:`napari_emsynth.methods.superres.scoring.held_out` gives."""
        cases = held_out_cases(self.data.held_out, self.factor, self.config.sections)
        return held_out_scores(cases, self.factor, lambda case: answered(network, case, device)[0])

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and how wide intervals must be."""
        return super().facts(network, device) | measured(
            self.data.held_out, self.factor, self.config.sections, lambda case: answered(network, case, device)
        )


class X8(Recipe):
    """Eight times finer."""

    objective = "x8"
    factor = 8


class X16(Recipe):
    """Sixteen times finer."""

    objective = "x16"
    factor = 16
