"""Stage I of GPEMSR: the codebook, learnt by redrawing fine sections from it.

With a section ``y``, what comes out of its codes ``y'``, the codes' own loss ``L_code`` ((2) of
:mod:`napari_emsynth.models.gpemsr.vqgan`) and a discriminator ``D`` of patches::

    L   = |y' - y| + 10 L_code + 0.05 a softplus(-D(y')),     a = 0 before the warm-up, then 1      (1)
    L_D = softplus(D(y')) + softplus(-D(y)) + g / 2 |grad D(y)|^2                                   (2)

From the paper's released configuration: the terms and weights of (1), a warm-up, and the penalty of (2). Ours: the
length of the warm-up, the logistic form, ``g``, and the penalty on some steps only, counted as often as it was left
out (Karras et al. 2020). Ours too: sections are first redrawn from latent vectors as they are, without ``L_code``,
because a codebook of what an untrained encoder says collapses; then every code starts as a latent vector of the data;
and while there is time for it, codes that nobody uses are set to latent vectors anew.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.superres.scoring.held_out import held_out_cases
from napari_emsynth.metrics.image import psnr
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config
from napari_emsynth.models.gpemsr.vqgan import PatchCritic
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.samples.reductions import ReducedSections, Simulation
from napari_emsynth.training.stages import Stage, Turn

CODE_WEIGHT, ADVERSARIAL = 10.0, 0.05
# Share of the stage without codes.
OPEN = 0.15
# Share of the stage before the discriminator joins, g of (2), and the share of steps with its penalty.
WARM_UP, PENALTY, PENALISED = 0.6, 1.0, 0.125
# Share of steps that look for unused codes, the share of the average code's use below which one counts as such, and
# the share of the stage after which codes are left where they are.
LOOKED, UNUSED, SETTLED = 0.05, 0.1, 0.75


class CodebookStage(Stage):
    """Trains encoder, codebook and decoder.

    Args:
        data: blocks to learn from and to be scored on.
        config: of the network.
        simulation: what is simulated on the sections.
        batch: crops a step.
        size: their edge, px.
    """

    name = "codebook"
    rival_pace = 0.5

    def __init__(self, data: TrainingData, config: Config, *, simulation: Simulation, batch: int, size: int) -> None:
        self.data, self.config, self.count = data, config, batch
        self.samples = ReducedSections(
            data.blocks, factor=config.factor, axes=data.axes, sections=1, size=size, simulation=simulation
        )

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """All of the autoencoder."""
        assert isinstance(network, GPEMSR)
        return list(network.vqgan.parameters())

    def rival(self) -> nn.Module:
        """The discriminator of patches."""
        return PatchCritic(self.config.critic)

    def begin(self, network: nn.Module) -> None:
        """Declare all codes unused: none has been set to a latent vector yet."""
        assert isinstance(network, GPEMSR)
        network.vqgan.codebook.usage.zero_()

    def _settle(self, network: GPEMSR, rng: Generator, device: torch.device) -> None:
        """Set every code to a latent vector of the data."""
        places = (self.samples.size // self.config.vqgan.patch) ** 2 * self.count
        with torch.no_grad():
            drawn = [network.vqgan.encoder(self._sections(rng, device)) for _ in range(-(-self.config.codes // places))]
        network.vqgan.codebook.revive(torch.cat(drawn), least=1.0, generator=_seeded(rng))

    def loss(self, network: nn.Module, turn: Turn) -> tuple[Tensor, Tensor | None, Figures]:
        """Return (1), after the warm-up (2), and how many codes are in use."""
        assert isinstance(network, GPEMSR)
        rng, rival = turn.rng, turn.rival
        assert rival is not None
        codebook = network.vqgan.codebook
        fine = self._sections(rng, turn.device)
        if turn.done < OPEN:
            absolute = (network.vqgan.decoder(network.vqgan.encoder(fine)) - fine).abs().mean()
            return absolute, None, {"l1": absolute, "perplexity": 1.0}
        if not codebook.usage.any():
            self._settle(network, rng, turn.device)
        revived = _revived(network, fine, rng) if turn.done < SETTLED and rng.random() < LOOKED else 0
        redrawn = network.vqgan(fine)
        absolute = (redrawn.section - fine).abs().mean()
        loss = absolute + CODE_WEIGHT * redrawn.loss
        terms = {"l1": absolute, "code": redrawn.loss, "perplexity": codebook.perplexity(), "revived": float(revived)}
        if turn.done < WARM_UP:
            return loss, None, terms
        loss = loss + ADVERSARIAL * F.softplus(-rival(redrawn.section)).mean()  # (1)
        rivalry, told = contest(rival, redrawn.section.detach(), fine, penalise=rng.random() < PENALISED)
        return loss, rivalry, terms | {"d_accuracy": told}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR in dB of held-out sections redrawn, which is the score, and how many codes they use."""
        assert isinstance(network, GPEMSR)
        found, used = [], []
        for case in held_out_cases(self.data.held_out, self.config.factor, 1):
            truth = torch.from_numpy(case.truth)[None, None].to(device)
            redrawn = network.vqgan(truth)
            found.append(psnr(redrawn.section[0, 0].float().cpu().numpy(), case.truth, case.peak))
            used.append(network.vqgan.codebook.shares(redrawn.indices))
        if not found:
            return {"psnr": 0.0, "perplexity": 0.0, "score": 0.0}
        perplexity = network.vqgan.codebook.perplexity(torch.stack(used).mean(dim=0))
        return {"psnr": float(np.mean(found)), "perplexity": perplexity, "score": float(np.mean(found))}

    def _sections(self, rng: Generator, device: torch.device) -> Tensor:
        """Draw [b, 1, y, x] fine sections."""
        return self.samples.batch(rng, self.count).to(device).fine


def contest(rival: nn.Module, fake: Tensor, real: Tensor, *, penalise: bool) -> tuple[Tensor, float]:
    """Return (2), and the share of patches that the discriminator is right about.

    Args:
        rival: D, [b, 1, y, x] -> logits.
        fake: [b, 1, y, x] redrawn.
        real: [b, 1, y, x] acquired.
        penalise: whether this is one of the steps with the penalty.
    """
    real = real.detach().requires_grad_(penalise)
    against, for_ = rival(fake), rival(real)
    loss = F.softplus(against).mean() + F.softplus(-for_).mean()
    if penalise:
        (gradient,) = torch.autograd.grad(for_.sum(), real, create_graph=True)
        loss = loss + PENALTY / 2 / PENALISED * gradient.square().sum(dim=(1, 2, 3)).mean()  # (2)
    right = torch.cat(((against < 0).flatten(), (for_ > 0).flatten()))
    return loss, float(right.float().mean())


@torch.no_grad()
def _revived(network: GPEMSR, fine: Tensor, rng: Generator) -> int:
    """Set codes that hardly anyone uses to latent vectors of sections [b, 1, y, x], and return how many."""
    return network.vqgan.codebook.revive(network.vqgan.encoder(fine), UNUSED, _seeded(rng))


def _seeded(rng: Generator) -> torch.Generator:
    """Return torch's generator at a seed that ours draws."""
    return torch.Generator().manual_seed(int(rng.integers(2**31)))
