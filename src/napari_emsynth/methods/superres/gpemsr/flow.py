"""The flow that GPEMSR's alignment starts from, learnt from low-resolution sections under known distortions.

With displacements ``u_l`` at levels ``l`` of the pyramid and the known one ``u``::

    L = sum_l 2^-l mean |u_l - R_l u|,       R_l: mean of 2^l x 2^l px, in px of the level           (1)

The paper takes a network that was trained on films. Ours learns from reduced sections, the same one twice or neighbours
(:mod:`napari_emsynth.training.samples.registration`): what is known of the displacement is what sections were distorted
by, and that is what alignment has to undo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.samples.pairs import stack_of
from napari_emsynth.training.samples.registration import Pairs, SectionPairs, Simulation
from napari_emsynth.training.stages import Stage, Turn
from napari_emsynth.volume import Array, Float

# A low-resolution pixel is large: displacements are a fraction of one to a few.
SIMULATION = Simulation(
    max_gap=3, magnify=(0.8, 1.6), shift_px=(0.05, 1.5), rotation_deg=0.5, warp_px=(0.05, 1.0),
    wavelength_px=(8.0, 48.0), strangers=0.0, noise_max=0.4,
)  # fmt: skip
# Largest edge of the pairs shown, low-resolution px; pairs of a step; pairs that are scored.
EDGE, BATCH, SCORED = 48, 8, 16
# Sections reduced at once, to save memory.
AT_ONCE = 16


class FlowStage(Stage):
    """Trains the pyramid flow.

    Args:
        data: blocks to learn from and to be scored on.
        config: of the network.
        simulation: what pairs look like, lengths in low-resolution px.
        batch: pairs a step.

    Raises:
        InputError: no block has 3 sections large enough once they are reduced.
    """

    name = "flow"

    def __init__(
        self, data: TrainingData, config: Config, *, simulation: Simulation = SIMULATION, batch: int = BATCH
    ) -> None:
        self.data, self.config, self.count = data, config, batch
        stacks = [reduced_stack(b, axis, config.factor) for b in data.blocks for axis in data.axes]
        edges = [min(stack.shape[1:]) for stack in stacks if len(stack) >= 3]
        size = min(EDGE, max(edges, default=0)) // config.multiple * config.multiple
        if size == 0:
            raise InputError(
                f"training for a factor of {config.factor} needs 3 sections of at least "
                f"{config.multiple * config.factor} x {config.multiple * config.factor} px, "
                f"got {[block.shape for block in data.blocks]}"
            )
        self.samples = SectionPairs(_usable(stacks, size), size=size, simulation=simulation)

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """All of the flow."""
        assert isinstance(network, GPEMSR)
        return list(network.flow.parameters())

    def loss(self, network: nn.Module, turn: Turn) -> tuple[Tensor, Tensor | None, Figures]:
        """Return (1), and the end-point error in low-resolution px."""
        assert isinstance(network, GPEMSR)
        pairs = self.samples.batch(turn.rng, self.count).to(turn.device)
        levels = network.flow.levels(pairs.moving, pairs.fixed)
        losses = []
        for i, u in enumerate(reversed(levels)):  # fine to coarse
            known = F.avg_pool2d(pairs.displacement, 2**i) / 2**i
            losses.append((u - known).abs().mean() / 2**i)
        loss = torch.stack(losses).sum()  # (1)
        return loss, None, {"epe": error(levels[-1].detach(), pairs)}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """End-point error in low-resolution px on held-out sections, beside that of no displacement at all.

        ``score``: by how many px the flow is better.
        """
        assert isinstance(network, GPEMSR)
        held_out = [reduced_stack(block, 0, self.config.factor) for block in self.data.held_out]
        usable = _usable(held_out, self.samples.size)
        if not usable:
            return {"epe": 0.0, "epe_still": 0.0, "score": 0.0}
        samples = SectionPairs(usable, size=self.samples.size, simulation=self.samples.simulation)
        pairs = samples.batch(np.random.default_rng(0), SCORED).to(device)
        found = error(network.flow(pairs.moving, pairs.fixed), pairs)
        still = error(torch.zeros_like(pairs.displacement), pairs)
        return {"epe": found, "epe_still": still, "score": still - found}


def error(u: Tensor, pairs: Pairs) -> float:
    """Mean length of what displacements [b, 2, y, x] are off, px."""
    return float((u - pairs.displacement).norm(dim=1).mean())


def reduced_stack(block: Array, axis: int, factor: int) -> Float:
    """Return a block's sections along an axis, each reduced: [n, y / factor, x / factor] float32."""
    stack = stack_of(block, axis)
    parts = []
    for first in range(0, len(stack), AT_ONCE):
        some = np.ascontiguousarray(stack[first : first + AT_ONCE], np.float32)
        # Sections smaller than a pixel of the reduced ones leave nothing.
        parts.append(reduced(torch.from_numpy(some)[None], factor)[0].numpy() if _fits(some, factor) else some[:, :0])
    return np.concatenate(parts)


def _fits(sections: Float, factor: int) -> bool:
    return bool(min(sections.shape[1:]) >= factor)


def _usable(stacks: Sequence[Float], size: int) -> list[Float]:
    """Those that pairs of ``size`` px can be taken from."""
    return [stack for stack in stacks if len(stack) >= 3 and min(stack.shape[1:]) >= size // 2]
