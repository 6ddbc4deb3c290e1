"""Jain 2017, section 3: the section half way between two others, by a small network of valid convolutions.

::

    G(z-1, z+1) = f3(fuse(f2(z-1), f2(z+1)))                                               (Figure 1)
    pixel:        min_G  sum |G - z|                                                       (section 3.2)
    adversarial:  Algorithm 1, the discriminator sees (z-1, z) and (z-1, G)                (section 3.3)

The network knows the half-way position only. Other positions, which the paper does not treat, are reached by halving:
at t = 1/4 it interpolates between ``below`` and its own answer for t = 1/2; any other t takes the nearest eighth.

What it redraws: the marked sections only. The ``adversarial`` weights invent plausible noise and detail: sharper, and
further from the truth, than ``pixel``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.methods.interpolate.scoring.held_out import HeldOut, Judge, naturalness
from napari_emsynth.models.jain2017 import Config, CriticConfig, Discriminator, InterpolationGenerator
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Recipe
from napari_emsynth.training.samples.pairs import Augmentation, Lesson, SectionTriples
from napari_emsynth.volume import Float

# Positions between the sections are rounded to this fraction of the gap.
FINEST = 8
# What the network is taught: whole sections, half way, between intact neighbours.
LESSONS = Augmentation(partial=0.0, one_sided=0.0, spoiled=0.0, centred=1.0, thinned=0.0, noise=0.1)
# Pixel sizes the training samples stand for: 6 and 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
BATCH, SIZE = 6, 96


class PixelRecipe(Recipe):
    """The baseline of section 3.2: absolute difference to the true section.

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the generator as JSON, None for the paper's.
        batch: samples a minibatch; the paper's is 6.
        size: crop edge in px.
    """

    method = "interpolate/jain2017"
    objective = "pixel"
    voxel_nm = VOXEL_NM
    architecture, sizes = InterpolationGenerator, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        batch: int = BATCH,
        size: int = SIZE,
    ) -> None:
        self.data, self.start, self.count = data, start, batch
        self.config = Config.from_json(config or {})
        self.cut = self.config.border[1]
        self.judge = Judge(data)
        self.samples = SectionTriples(data.blocks, axes=data.axes, size=size, augmentation=LESSONS, thick=data.thick)

    def minibatch(self, rng: Generator, device: torch.device) -> Lesson:
        """Draw a minibatch."""
        return self.samples.batch(rng, self.count).to(device)

    def inner(self, images: Tensor) -> Tensor:
        """Cut the generator's border off: [b, 1, y, x] -> [b, 1, y - 2 border, x - 2 border]."""
        return images[..., self.cut : -self.cut, self.cut : -self.cut]

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, dict[str, float]]:
        """Mean absolute difference of one minibatch."""
        lesson = self.minibatch(rng, device)
        drawn = network(torch.cat((lesson.below, lesson.above), dim=1))
        loss = (drawn - self.inner(lesson.target)).abs().mean()
        return loss, {"pixel": float(loss.detach())}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR over linear interpolation on held-out sections, at four gaps; ``score`` is the mean gain in dB."""
        return self.judge.scores(self._answer(network, device))

    def _answer(self, network: nn.Module, device: torch.device) -> Any:
        cut = self.cut

        def answer(case: HeldOut) -> Float:
            pair = np.stack((case.below, case.above))
            padded = np.pad(pair, ((0, 0), (cut, cut), (cut, cut)), mode="reflect")
            drawn = network(torch.from_numpy(padded)[None].to(device))
            return np.asarray(drawn[0, 0].float().cpu().numpy())

        return answer


class AdversarialSections(PixelRecipe, AdversarialRecipe):
    """Algorithm 1, from the weights given (the paper does not say from where; we start at ``pixel``)."""

    objective = "adversarial"
    scheme = Scheme()

    def discriminator(self) -> nn.Module:
        """The siamese discriminator of section 3.3, for images of the generator's output size."""
        return Discriminator(CriticConfig(images=2, size=self.samples.size - 2 * self.cut))

    def generate(self, network: nn.Module, batch: Lesson) -> Tensor:
        """Interpolate: [b, 1, y, x]."""
        return torch.as_tensor(network(torch.cat((batch.below, batch.above), dim=1)))

    def fakes(self, batch: Lesson, output: Tensor, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(z - 1, G): [b, 2, y, x]."""
        return torch.cat((self.inner(batch.below), output), dim=1)

    def reals(self, batch: Lesson, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(z - 1, z): [b, 2, y, x]."""
        return torch.cat((self.inner(batch.below), self.inner(batch.target)), dim=1)

    def pixel_term(self, batch: Lesson, output: Tensor) -> Tensor:
        """Mean over px of |G - z|."""
        return (output - self.inner(batch.target)).abs().mean()

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """As for ``pixel``, with the mid-band power; ``score`` weighs both."""
        return naturalness(self.judge.scores(self._answer(network, device)))


class Jain2017:
    """The built method."""

    factor = 1.645  # of a normal law; the self-check calibrates it

    def __init__(self, network: InterpolationGenerator) -> None:
        self.network = network.eval()
        self.border = network.config.border[1]
        self.halo = self.border * FINEST.bit_length()

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Synthesise one section by halving the gap until ``t`` is reached."""
        runtime.cancel.check()
        low, high = 0, FINEST
        wanted = min(max(round(gap.t * FINEST), 1), FINEST - 1)
        below, above = gap.below, gap.above
        while True:
            middle = (low + high) // 2
            drawn = self._halve(below, above, runtime)
            if middle == wanted:
                return Synthesis(drawn)
            if wanted < middle:
                high, above = middle, drawn
            else:
                low, below = middle, drawn

    def _halve(self, below: Float, above: Float, runtime: Runtime) -> Float:
        if not (below.any() or above.any()):
            return np.zeros_like(below)
        drawn: Float = run(self.network, np.stack((below, above)), halo=self.border, runtime=runtime, out_channels=1)[0]
        return drawn


SPEC = MethodSpec(
    task="interpolate",
    id="jain2017",
    title="Jain 2017",
    summary="The first adversarial section interpolation: a plain network for the section half way between two others. "
    "Weights `pixel` are accurate and soft, `adversarial` look real and invent detail.",
    paper="Jain 2017, Adversarial Image Alignment and Interpolation, section 3",
    build=learned(PixelRecipe, lambda network, _card, _params: Jain2017(network)),
    weights=("pixel", "adversarial"),
    has_uncertainty=True,
    recipes={"pixel": PixelRecipe, "adversarial": AdversarialSections},
)
