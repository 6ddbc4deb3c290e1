"""Stage III of GPEMSR: the fine section, from five coarse ones and what stages I and II know.

With the answer ``y'``, the length ``b`` of its expected error, the fine section ``y`` and features ``phi`` of our own
encoder::

    L = |y' - y| + |y' - y|^2 + w CX(phi(y'), phi(y)) + 0.1 (|y' - y| / b + log b)                  (1)

with the contextual loss ``CX`` (:mod:`napari_emsynth.nn.contextual`) on a window of each answer, and the last term
teaching ``b`` alone. From the paper: the first and the third term, and ``w``, 0.001 at a factor of 8 and 0.01 at 16.
The squared error, which is what PSNR counts, and the error estimate are ours, as they are the single-stage network's;
and so are the features, which the paper has from a network trained on photographs. Stages I and II and the flow are
held still.

Ours, too, is the stage before: a network that starts where a single-stage one ended has nothing to gain at first from
parts that know nothing yet, and learns to shut them out. So they learn alone, what was taken over held still.
"""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.superres.scoring.held_out import answered, held_out_cases, held_out_scores
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config
from napari_emsynth.nn.contextual import contextual_loss
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.samples.reductions import ReducedSections, Simulation
from napari_emsynth.training.stages import Stage, Turn

# Parts of the network that other stages train.
OTHERS = ("vqgan", "indexer", "flow")
LIKELIHOOD = 0.1
# Largest edge of the windows whose features are compared, px: memory grows with its fourth power.
WINDOW = 96


def contextual_weight(factor: int) -> float:
    """Return ``w`` of (1)."""
    return 0.01 if factor >= 16 else 0.001


class ReconstructionStage(Stage):
    """Trains all that earlier stages did not finish.

    Args:
        data: blocks to learn from and to be scored on.
        config: of the network.
        simulation: what is simulated on the sections.
        batch: crops a step.
        size: their edge, px of the fine sections.
    """

    name = "reconstruction"
    still: tuple[str, ...] = OTHERS
    # About the rate of the released configuration, 4e-4, where the plan's is 1e-3.
    pace = 0.5

    def __init__(self, data: TrainingData, config: Config, *, simulation: Simulation, batch: int, size: int) -> None:
        self.data, self.config, self.count = data, config, batch
        self.samples = ReducedSections(
            data.blocks,
            factor=config.factor,
            axes=data.axes,
            sections=config.sections,
            size=size,
            simulation=simulation,
        )

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """All but what is held still."""
        return [p for name, p in network.named_parameters() if name.partition(".")[0] not in self.still]

    def loss(self, network: nn.Module, turn: Turn) -> tuple[Tensor, Tensor | None, Figures]:
        """Return (1) with its terms, and how far the answer is from what was acquired."""
        assert isinstance(network, GPEMSR)
        batch = self.samples.batch(turn.rng, self.count).to(turn.device)
        mean, log_scale, mask = network(batch.low)
        error = mean - batch.fine
        absolute, square = error.abs().mean(), error.square().mean()
        likelihood = (error.abs().detach() * torch.exp(-log_scale) + log_scale).mean()
        loss = absolute + square + LIKELIHOOD * likelihood
        away = reduced(error.detach(), self.config.factor)
        terms = {"l1": absolute, "mse": square, "residual": away.square().mean().sqrt(), "trusted": mask.mean()}
        if self.config.mpf:
            context = self._context(network, mean, batch.fine, turn.rng)
            loss = loss + contextual_weight(self.config.factor) * context  # (1)
            terms["contextual"] = context
        return loss, None, terms

    def _context(self, network: GPEMSR, mean: Tensor, fine: Tensor, rng: Generator) -> Tensor:
        """Return CX of (1) on a window that lies on the grid of the codes."""
        patch = self.config.vqgan.patch
        edge = min(WINDOW, mean.shape[-1]) // patch * patch
        y, x = (int(rng.integers(0, (n - edge) // patch + 1)) * patch for n in mean.shape[-2:])
        window = (..., slice(y, y + edge), slice(x, x + edge))
        seen = torch.cat((mean[window], fine[window]))
        a, b = network.vqgan.encoder.features(seen, self.config.compare)[-1].chunk(2)
        return contextual_loss(a, b)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Return the scores on held-out sections that :mod:`napari_emsynth.methods.superres.scoring.held_out` gives."""
        cases = held_out_cases(self.data.held_out, self.config.factor, self.config.sections)
        return held_out_scores(cases, self.config.factor, lambda case: answered(network, case, device)[0])


class FusionStage(ReconstructionStage):
    """Trains what the prior and the neighbours go through; the rest of a direct network is held still."""

    name = "fusion"
    still = (*OTHERS, "direct", "reconstruction")
