"""Stage II of GPEMSR: which codes a low-resolution section stands for.

With the codes ``e(p)`` that the encoder of stage I, which is held still, finds in a fine section ``y``, and the area
mean ``R y`` of it::

    L = - mean_p log softmax(indexer(R y))_e(p)                                                    (1)

From the paper: the cross-entropy, and that stage I is held still. The low-resolution sections get contrast, noise and
dirt of their own, which is ours. The encoder looks further than a low-resolution section tells: it is by no means sure
which code to take, and how often it is right is logged beside how often the commonest code is.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.methods.superres.scoring.held_out import held_out_cases
from napari_emsynth.metrics.image import psnr
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config
from napari_emsynth.models.gpemsr.indexer import accuracy
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.samples.reductions import ReducedSections, Simulation
from napari_emsynth.training.stages import Stage, Turn

# Guesses among which the right code counts as found, beside the first alone.
GUESSES = 5


class IndexerStage(Stage):
    """Trains the indexer.

    Args:
        data: blocks to learn from and to be scored on.
        config: of the network.
        simulation: what is simulated on the sections.
        batch: crops a step.
        size: their edge, px of the fine sections.
    """

    name = "indexer"

    def __init__(self, data: TrainingData, config: Config, *, simulation: Simulation, batch: int, size: int) -> None:
        self.data, self.config, self.count = data, config, batch
        self.samples = ReducedSections(
            data.blocks, factor=config.factor, axes=data.axes, sections=1, size=size, simulation=simulation
        )

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """All of the indexer."""
        assert isinstance(network, GPEMSR)
        return list(network.indexer.parameters())

    def loss(self, network: nn.Module, turn: Turn) -> tuple[Tensor, Tensor | None, Figures]:
        """Return (1), and how often the codes are right."""
        assert isinstance(network, GPEMSR)
        batch = self.samples.batch(turn.rng, self.count).to(turn.device)
        truth = codes(network, batch.fine)
        logits = network.indexer(batch.low)
        loss = F.cross_entropy(logits, truth)  # (1)
        terms = {"accuracy": accuracy(logits, truth), "among": accuracy(logits, truth, GUESSES)}
        return loss, None, terms

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """How often the codes of held-out sections are right, and the PSNR in dB of what is drawn from them.

        ``among``: how often the right one is among the first five; ``common``: how often the commonest code is right;
        ``psnr``: of the reference, before anything is fused. ``score``: right codes in percent.
        """
        assert isinstance(network, GPEMSR)
        right, among, drawn, found = [], [], [], []
        for case in held_out_cases(self.data.held_out, self.config.factor, 1):
            low = torch.from_numpy(case.low)[None].to(device)
            truth = codes(network, torch.from_numpy(case.truth)[None, None].to(device))
            logits = network.indexer(low)
            right.append(accuracy(logits, truth))
            among.append(accuracy(logits, truth, GUESSES))
            drawn.append(truth.flatten().cpu())
            reference = network.prior(low).reference[0, 0].float().cpu().numpy()
            found.append(psnr(reference, case.truth, case.peak))
        if not found:
            return {"accuracy": 0.0, "among": 0.0, "common": 0.0, "psnr": 0.0, "score": 0.0}
        counts = torch.bincount(torch.cat(drawn))
        return {
            "accuracy": float(np.mean(right)),
            "among": float(np.mean(among)),
            "common": float(counts.max() / counts.sum()),
            "psnr": float(np.mean(found)),
            "score": 100 * float(np.mean(right)),
        }


@torch.no_grad()
def codes(network: GPEMSR, fine: Tensor) -> Tensor:
    """Return e of (1): fine sections [b, 1, y, x] -> [b, y / 16, x / 16]."""
    return network.vqgan.codebook.nearest(network.vqgan.encoder(fine))
