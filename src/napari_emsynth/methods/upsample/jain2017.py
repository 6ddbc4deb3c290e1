"""Jain 2017, section 5: twice the sections, redrawn and aligned in one go, by a transposed convolution.

::

    G: stack of n sections -> 2n sections                                                 (Figure 4)
    Algorithm 1; real = xy section of the input, fake = xz or yz reslice of G, cut to one size
    pixel term: sum |G_2i - stack_i|, the half of the sections that have an original

In blocks with isotropic voxels every second section is left out, so the sections between are known as well; there
they join the pixel term with :data:`BETWEEN` of its weight (ours; on anisotropic stacks, as in the paper, there is
nothing to join).

What it redraws: every voxel, the acquired sections too. The grid is that of point sampling: section 2i of the result
lies on section i of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.models.jain2017 import RATE, Config, CriticConfig, Discriminator, SuperResolutionGenerator
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import judged, natural_gain
from napari_emsynth.training.samples.reslices import random_reslices, random_sections
from napari_emsynth.training.samples.stacks import StackSamples, jitter
from napari_emsynth.volume import Float

# Sections (pairs of them) and px that G answers while training, and images a minibatch shows the discriminator.
PAIRS, PLANE, IMAGES = 16, 32, 6
# Weight of the sections between, where they are known.
BETWEEN = 1.0
# This share of the samples jitters, by up to this deviation in px.
JITTERED, JITTER_PX = 0.3, (0.2, 1.0)
# What the bundled network has instead of the paper's 50 maps: ten times fewer operations.
SLIM = Config(kind="superresolution", maps=16)
# Voxel sizes the training samples stand for.
VOXEL_NM = (8.0, 30.0)
TEST_SIZE = (49, 64, 64)
# Worth of a factor e in the reslices' mid-band power, in dB.
NATURALNESS_DB = 2.0


@dataclass(frozen=True)
class Minibatch:
    """Stacks as the network sees them, and what is known of its answer.

    Args:
        seen: [b, 1, z, y, x] normalised.
        on: [b, z, y, x] the sections seen, before any jitter.
        between: [b, z, y, x] the sections half way to the next, or None where nobody knows them.
    """

    seen: Tensor
    on: Tensor
    between: Tensor | None


class SuperResolution(AdversarialRecipe):
    """Algorithm 1 with the pixel term on alternating sections.

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the generator as JSON, None for the bundled network's.
        batch: stacks a minibatch.
    """

    method = "upsample/jain2017"
    objective = "adversarial"
    voxel_nm = VOXEL_NM
    architecture, sizes = SuperResolutionGenerator, Config
    scheme = Scheme(adversarial=0.01)

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        batch: int = 1,
        size: int = PLANE,
    ) -> None:
        self.data, self.start, self.count, self.size = data, start, batch, size
        self.config = Config.from_json(config) if config else SLIM
        self.cut = self.config.border
        self.known = len(data.axes) == 3
        z, y, x = (n + 2 * c for n, c in zip((PAIRS, size, size), self.cut, strict=True))
        self.samples = StackSamples(data.blocks, axes=data.axes, size=(RATE * z if self.known else z, y, x))

    def discriminator(self) -> nn.Module:
        """The single-image discriminator, for reslices of the answered stack."""
        return Discriminator(CriticConfig(images=1, size=RATE * PAIRS))

    def minibatch(self, rng: Generator, device: torch.device) -> Minibatch:
        """Draw stacks; of isotropic ones every second section is left out."""
        stacks = np.stack([self.samples.draw(rng) for _ in range(self.count)])
        on, between = (stacks[:, ::RATE], stacks[:, 1::RATE]) if self.known else (stacks, None)
        seen = on
        if rng.random() < JITTERED:
            spread = rng.uniform(*JITTER_PX)
            seen = np.stack([jitter(s, rng.normal(0, spread, (len(s), 2))) for s in on])

        def tensor(array: Float) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        return Minibatch(tensor(seen)[:, None], tensor(on), None if between is None else tensor(between))

    def generate(self, network: nn.Module, batch: Minibatch) -> Tensor:
        """Redraw: [b, 2, z, y, x], channels are the sections on and between those seen."""
        return torch.as_tensor(network(batch.seen))

    def fakes(self, batch: Minibatch, output: Tensor, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """Reslices xz and yz of the interleaved output, square: [n, 1, 2 pairs, 2 pairs]."""
        return random_reslices(interleaved(output), IMAGES, rng)[..., : RATE * PAIRS]

    def reals(self, batch: Minibatch, rng: Generator) -> Tensor:
        """Sections xy of the input, cut to the same size."""
        return random_sections(batch.seen[:, 0], IMAGES, (RATE * PAIRS, RATE * PAIRS), rng)

    def pixel_term(self, batch: Minibatch, output: Tensor) -> Tensor:
        """Mean |G - stack| over the sections that have an original."""
        inner = (slice(None), *(slice(c, -c) for c in self.cut))
        term = (output[:, 0] - batch.on[inner]).abs().mean()
        if batch.between is None:
            return term
        between = (output[:, 1] - batch.between[inner]).abs().mean()
        return (term + BETWEEN * between) / (1 + BETWEEN)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR of held-out sections left out, beside linear, and the reslices' mid-band power; anisotropic blocks
        are judged at twice their spacing.

        ``score``: dB over linear, less a penalty for reslices that are smoother or rougher than the true ones.
        """
        ours, baseline, bands = [], [], []
        for block in self.data.held_out:
            stack, peak = judged(block, TEST_SIZE)
            on = stack[::RATE]
            padded = np.pad(on, [(c, c) for c in self.cut], mode="reflect")
            drawn = network(torch.from_numpy(padded)[None, None].to(device)).cpu()
            full = interleaved(drawn)[0, : len(stack)].numpy()
            hidden = stack[1 : 2 * len(on) - 1 : RATE]
            ours.append(psnr(full[1::RATE][: len(hidden)], hidden, peak))
            baseline.append(psnr(0.5 * (on[:-1] + on[1:]), hidden, peak))
            y = stack.shape[1] // 2
            bands.append(mid_band_ratio(full[: len(stack), y], stack[:, y]))
        return natural_gain(ours, baseline, bands, worth_db=NATURALNESS_DB, called="linear")


def interleaved(pairs: Tensor) -> Tensor:
    """[b, 2, z, y, x] sections on and between -> [b, 2z, y, x] in order."""
    return pairs.transpose(1, 2).flatten(1, 2)


class Jain2017:
    """The built method."""

    def __init__(self, network: SuperResolutionGenerator) -> None:
        self.network = network.eval()
        self.border = network.config.border

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """Return what the network's valid convolutions lose."""
        return self.border

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Redraw a block [z, y, x]; positions are multiples of 1/2."""
        runtime.cancel.check()
        drawn: Float = run(self.network, block[None], halo=self.border, runtime=runtime, out_channels=RATE)
        twice = [round(RATE * p) for p in ask.positions]
        return [Expert("redrawn", np.stack([drawn[n % RATE, n // RATE] for n in twice]))]


SPEC = MethodSpec(
    task="upsample",
    id="jain2017",
    title="Jain 2017",
    summary="Twice the sections: redraws the stack on a doubled grid and straightens jitter on the way. Every voxel "
    "changes, acquired sections too.",
    paper="Jain 2017, Adversarial Image Alignment and Interpolation, section 5",
    build=learned(SuperResolution, lambda network, _card, _params: Jain2017(network)),
    weights=("adversarial",),
    keeps_acquired=False,
    recipes={"adversarial": SuperResolution},
    factors=(RATE,),
    samplings=("point",),
)
