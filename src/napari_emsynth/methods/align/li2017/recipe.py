"""How Li & Fan's network is trained: on pairs of sections, for how alike they become, see :mod:`.li2017_loss`.

Pairs are neighbouring sections of all axes of isotropic blocks, and one section twice, each under distortions, contrast
and noise of its own (:mod:`napari_emsynth.training.samples.registration`). The distortions are known, but the loss does
not know them: only :meth:`Recipe.validate` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.align.li2017.loss import LossConfig, loss, similarity
from napari_emsynth.models.li2017 import Config, LiFan
from napari_emsynth.training import recipe
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.samples.registration import Pairs, SectionPairs, Simulation

# Pixel sizes the training samples stand for: 10 nm, magnified as the simulation says.
VOXEL_NM = (4.0, 12.5)
# The method is asked after large shifts were taken out, and a network without a search has to see its way.
SIMULATION = Simulation(
    max_gap=3, shift_px=(0.2, 3.0), rotation_deg=0.6, warp_px=(0.2, 4.0), wavelength_px=(16.0, 64.0), strangers=0.0
)
# Validation: so many pairs of each kind, of sections that were held out.
TEST_PAIRS = 16
# Pixels this near to the border of a test pair may be pulled from outside: they do not count.
MARGIN = 16


class Recipe(recipe.Recipe):
    """How the network is trained and scored (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        simulation: what the pairs look like.
        constants: of the loss.
        batch: pairs a step.
        size: edge of the sections in px, a multiple of 16.
    """

    method = "align/li2017"
    objective = "pairs"
    voxel_nm = VOXEL_NM
    architecture, sizes = LiFan, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation = SIMULATION,
        constants: LossConfig = LossConfig(),
        batch: int = 4,
        size: int = 128,
    ) -> None:
        self.data, self.start, self.count, self.constants = data, start, batch, constants
        self.config = Config.from_json(config or {})
        self.samples = SectionPairs(data.blocks, axes=data.axes, size=size, simulation=simulation)

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Draw a batch and return the loss with its terms."""
        pairs = self.samples.batch(rng, self.count)
        fixed, moving = pairs.fixed.to(device), pairs.moving.to(device)
        return loss(fixed, moving, network(torch.cat((fixed, moving), dim=1)), self.constants)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """End-point error in px on known warps of one section, NCC of held-out neighbours, and both before.

        ``score``: NCC less the end-point error.
        """
        scores: dict[str, float] = {}
        for name, gap in (("same", 0), ("near", 1)):
            pairs = self._test_pairs(gap)
            fixed, moving = pairs.fixed.to(device), pairs.moving.to(device)
            answer = network(torch.cat((fixed, moving), dim=1))[-1]
            zero = torch.zeros_like(answer)
            truth = pairs.displacement.to(device)
            scores[f"epe_{name}"] = end_point_error(answer, truth)
            scores[f"epe_{name}_start"] = end_point_error(zero, truth)
            scores[f"ncc_{name}"] = float(similarity(fixed, moving, answer, self.constants))
            scores[f"ncc_{name}_start"] = float(similarity(fixed, moving, zero, self.constants))
        return scores | {"score": scores["ncc_near"] - scores["epe_same"]}

    def _test_pairs(self, gap: int) -> Pairs:
        """Draw the same pairs of held-out sections every time; gap 0 is one section twice."""
        same = 1.0 if gap == 0 else 0.0
        calm = Simulation(**(vars(self.samples.simulation) | {"same": same, "max_gap": max(gap, 1), "spoiled": 0.0}))
        held_out = SectionPairs(self.data.held_out, size=self.samples.size, simulation=calm)
        return held_out.batch(np.random.default_rng(gap), TEST_PAIRS)


def end_point_error(answer: Tensor, truth: Tensor) -> float:
    """Mean length of the difference of two fields [b, 2, y, x] px, without a margin."""
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return float((answer - truth)[inner].norm(dim=1).mean())
