"""Jain 2017, section 4: a stack redrawn by an adversary, so that its reslices look like its sections.

::

    G: stack -> stack, three-dimensional 'valid' convolutions                             (section 4.1)
    adversarial:  Algorithm 1; real = xy section of the input, fake = xz or yz reslice of G
    mixed:        the same, plus the pixel term  sum |G - stack|

The paper trains on stacks as they are, 'roughly aligned with pixel-level jitter'. We add known jitter to most
samples of an intact stack, and the pixel term compares with the stack before it; so ``mixed`` learns what jitter is
and what must stay. ``adversarial`` goes on from ``mixed`` without any pixel term (the paper does not say from where).

What it redraws: every voxel. Nothing promises that a detail of the input survives: for looking, and for what comes
from looking; fields that move voxels keep them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.building import learned
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.models.jain2017 import AlignmentGenerator, Config, CriticConfig, Discriminator
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import judged, natural_gain
from napari_emsynth.training.samples.reslices import random_reslices, random_sections
from napari_emsynth.training.samples.stacks import StackSamples, jitter
from napari_emsynth.volume import Float

# Edge of the stack that G answers while training, in voxels, and images a minibatch shows the discriminator.
ANSWER, IMAGES = 32, 6
# This share of the samples jitters, by a deviation drawn from this range in px.
JITTERED, JITTER_PX = 0.7, (0.5, 2.5)
# What the bundled networks have instead of the paper's 50 maps: ten times fewer operations.
SLIM = Config(kind="alignment", maps=16)
# Voxel sizes the training samples stand for.
VOXEL_NM = (8.0, 30.0)
# Validation: jitter of this deviation in px on crops of this size.
TEST_PX, TEST_SIZE = 1.5, (48, 64, 64)


@dataclass(frozen=True)
class Minibatch:
    """Stacks as the network sees them, and as they are: [b, 1, z, y, x] normalised."""

    seen: Tensor
    true: Tensor


class Mixed(AdversarialRecipe):
    """Algorithm 1 with the pixel term.

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the generator as JSON, None for the bundled networks'.
        batch: stacks a minibatch.
        size: edge in voxels of the stack that G answers.
    """

    method = "align/jain2017"
    objective = "mixed"
    voxel_nm = VOXEL_NM
    architecture, sizes = AlignmentGenerator, Config
    scheme = Scheme(adversarial=0.05)
    # Worth of a factor e in the reslices' mid-band power, in dB.
    naturalness_db = 2.0

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        batch: int = 1,
        size: int = ANSWER,
    ) -> None:
        self.data, self.start, self.count, self.size = data, start, batch, size
        self.config = Config.from_json(config) if config else SLIM
        self.cut = self.config.border
        z, y, x = (size + 2 * c for c in self.cut)
        self.samples = StackSamples(data.blocks, axes=data.axes, size=(z, y, x))

    def discriminator(self) -> nn.Module:
        """The single-image discriminator of section 4.1."""
        return Discriminator(CriticConfig(images=1, size=self.size))

    def minibatch(self, rng: Generator, device: torch.device) -> Minibatch:
        """Draw stacks and jitter some of them."""
        seen, true = [], []
        for _ in range(self.count):
            stack = self.samples.draw(rng)
            true.append(stack)
            seen.append(stack)
            if rng.random() < JITTERED:
                shifts = rng.normal(0, rng.uniform(*JITTER_PX), (len(stack), 2))
                seen[-1] = jitter(stack, shifts)
        pair = (torch.from_numpy(np.stack(stacks)[:, None]).to(device) for stacks in (seen, true))
        return Minibatch(*pair)

    def generate(self, network: nn.Module, batch: Minibatch) -> Tensor:
        """Redraw: [b, 1, z, y, x]."""
        return torch.as_tensor(network(batch.seen))

    def fakes(self, batch: Minibatch, output: Tensor, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """Reslices xz and yz of the output: [n, 1, size, size]."""
        return random_reslices(output[:, 0], IMAGES, rng)

    def reals(self, batch: Minibatch, rng: Generator) -> Tensor:
        """Sections xy of the input, cut to the same size: [n, 1, size, size]."""
        return random_sections(batch.seen[:, 0], IMAGES, (self.size, self.size), rng)

    def pixel_term(self, batch: Minibatch, output: Tensor) -> Tensor:
        """Mean over voxels of |G - stack|."""
        inner = tuple(slice(c, -c) for c in self.cut)
        return (output - batch.true[(slice(None), slice(None), *inner)]).abs().mean()

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR to held-out stacks before and after known jitter, and the reslices' mid-band power.

        ``score``: dB gained, less a penalty for reslices that are smoother or rougher than the true ones.
        """
        before, after, bands = [], [], []
        for block in self.data.held_out:
            stack, peak = judged(block, TEST_SIZE)
            shifts = np.random.default_rng(0).normal(0, TEST_PX, (len(stack), 2))
            seen = jitter(stack, shifts)
            padded = np.pad(seen, [(c, c) for c in self.cut], mode="reflect")
            drawn = network(torch.from_numpy(padded)[None, None].to(device))[0, 0].cpu().numpy()
            before.append(psnr(seen, stack, peak))
            after.append(psnr(drawn, stack, peak))
            middle_y = stack.shape[1] // 2
            bands.append(mid_band_ratio(drawn[:, middle_y], stack[:, middle_y]))
        return natural_gain(after, before, bands, worth_db=self.naturalness_db, called="jittered")


class Adversarial(Mixed):
    """Algorithm 1 without the pixel term; the arguments are those of :class:`Mixed`."""

    objective = "adversarial"
    # Nothing but the adversary holds the generator: small steps.
    scheme = Scheme(adversarial=1.0, pixel=0.0, lr=2e-5)
    naturalness_db = 6.0


class Jain2017:
    """The built method."""

    def __init__(self, network: AlignmentGenerator) -> None:
        self.network = network.eval()
        self.halo = network.config.border

    def __call__(self, block: Float, runtime: Runtime) -> Float:
        """Redraw a block [z, y, x] of normalised voxels."""
        runtime.cancel.check()
        drawn: Float = run(self.network, block[None], halo=self.halo, runtime=runtime, out_channels=1)[0]
        return drawn


SPEC = MethodSpec(
    task="align",
    id="jain2017",
    title="Jain 2017",
    summary="Redraws a roughly aligned stack so that its reslices look like its sections. Every voxel changes: for "
    "looking at, not for measuring.",
    paper="Jain 2017, Adversarial Image Alignment and Interpolation, section 4",
    build=learned(Mixed, lambda network, _card, _params: Jain2017(network)),
    weights=("mixed", "adversarial"),
    keeps_acquired=False,
    recipes={"mixed": Mixed, "adversarial": Adversarial},
)
