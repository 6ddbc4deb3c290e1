"""How :mod:`napari_emsynth.methods.interpolate.emsynth.method` is trained, and its adversarial sister.

::

    loss = LapL1(mean, y) + |mean - y|^2 + 0.1 (|mean - y| / e^s + s)
           + 0.25 mean_k |down_k(side)(p + u_k) - down_k(y)|                                   (4)

where ``u_k`` is the displacement hint at level k: without the last term the hints hardly leave zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.interpolate.scoring.held_out import POSED, RUNS, HeldOut, Judge, naturalness
from napari_emsynth.models.interpolation_unet import Answer, Clues, Config, InterpolationUNet, Sides, clues_of
from napari_emsynth.models.jain2017 import CriticConfig, Discriminator
from napari_emsynth.nn.pyramid import laplacian_l1
from napari_emsynth.nn.warp import warp
from napari_emsynth.training import recipe
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import covering
from napari_emsynth.training.samples.gaps import SCENES, GapLesson, GapSamples
from napari_emsynth.training.samples.pairs import Augmentation, shares, stack_of
from napari_emsynth.volume import Float

# Pixel sizes the training samples stand for: 6 and 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
# Where part of the section is known, its own pixels count this much: they need not be redrawn.
KNOWN_WEIGHT = 0.05
# Share of the samples taken from blocks of thick sections, where there are both kinds.
THICK_SHARE = 0.3
# What is simulated: the filter sees the same noise, so that more of it teaches nothing but blur.
DEFECTS = Augmentation(jitter=0.2, noise=0.35, noise_max=0.5, one_sided=0.04, partial=0.15)
# Of the very volume that will be mended its pixel size, noise and jitter are known: they are its own.
OWN = Augmentation(rescale=0.0, jitter=0.0, noise=0.0, contrast=0.2, one_sided=0.04, partial=0.15)
# Few enough that the filters of all are fitted within the first steps of a short run.
OWN_SCENES = 64
# What fine-tuning is judged by: every setting costs as much again, and judging should not take longer than learning.
JUDGED = {name: (POSED | RUNS)[name] for name in ("1", "2", "run_3")}


class Recipe(recipe.Recipe):
    """How the network is trained and scored (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        augmentation: what is simulated; None takes what suits the data.
        batch: samples a step.
        size: crop edge in px.
    """

    method = "interpolate/emsynth"
    objective = "accurate"
    voxel_nm = VOXEL_NM
    architecture, sizes = InterpolationUNet, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        augmentation: Augmentation | None = None,
        batch: int = 4,
        size: int = 128,
    ) -> None:
        self.data, self.start, self.count = data, start, batch
        self.config = Config.from_json(config or {})
        self.judge = Judge(data, JUDGED if data.own else POSED | RUNS)
        stacks, weights = stacks_of(data)
        defects = augmentation or (OWN if data.own else DEFECTS)
        self.samples = GapSamples(
            stacks, weights=weights, size=size, augmentation=defects, scenes=OWN_SCENES if data.own else SCENES
        )

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return (4) with its terms."""
        lesson = self.minibatch(rng, device)
        return self.objective_of(lesson, self.generate(network, lesson))

    def minibatch(self, rng: Generator, device: torch.device) -> GapLesson:
        """Draw samples."""
        return self.samples.batch(rng, self.count).to(device)

    def generate(self, network: nn.Module, batch: GapLesson) -> Answer:
        """Run the network."""
        assert isinstance(network, InterpolationUNet)
        return network.explain(batch.sides, batch.clues, batch.partial, batch.keep)

    @staticmethod
    def objective_of(lesson: GapLesson, answer: Answer) -> tuple[Tensor, dict[str, float]]:
        """Return (4) of an answer, with its terms."""
        mean, log_scale, flows = answer
        weight = (1 - lesson.keep) + KNOWN_WEIGHT * lesson.keep
        error = mean - lesson.target
        pyramid = laplacian_l1(mean, lesson.target, weight)
        square = (weight * error**2).sum() / weight.sum()
        # The scale learns from the error but does not trade accuracy for confidence.
        likelihood = (weight * (error.abs().detach() * torch.exp(-log_scale) + log_scale)).sum() / weight.sum()
        hint = hint_loss(flows, torch.cat((lesson.sides.below, lesson.sides.above)), lesson.target)
        loss = pyramid + square + 0.1 * likelihood + 0.25 * hint  # (4)
        return loss, {"l1": float(pyramid.detach()), "mse": float(square.detach()), "hint": float(hint.detach())}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR over linear interpolation on held-out sections; ``score`` is the mean gain in dB over the gaps."""
        return self.judge.scores(lambda case: predict(network, case, device)[0])

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and the factor of (3) measured on held-out sections."""

        def pairs() -> Iterator[tuple[Float, Float]]:
            for case in self.judge.all_cases():
                mean, log_scale = predict(network, case, device)
                yield case.truth - mean, np.exp(log_scale)

        return super().facts(network, device) | {"factor": covering(pairs())}


class Natural(Recipe, AdversarialRecipe):
    """Algorithm 1 of Jain 2017 on (4): the discriminator sees (below, section) and (below, mean).

    The arguments are those of :class:`Recipe`.
    """

    objective = "natural"
    scheme = Scheme(adversarial=0.4)

    def discriminator(self) -> nn.Module:
        """The siamese discriminator of Jain 2017, section 3.3."""
        return Discriminator(CriticConfig(images=2, size=self.samples.size))

    def fakes(self, batch: GapLesson, output: Answer, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(below, mean): [b, 2, y, x]."""
        return torch.cat((batch.sides.below, output.mean), dim=1)

    def reals(self, batch: GapLesson, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(below, section): [b, 2, y, x]."""
        return torch.cat((batch.sides.below, batch.target), dim=1)

    def pixel_term(self, batch: GapLesson, output: Answer) -> Tensor:
        """(4), whole."""
        return self.objective_of(batch, output)[0]

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """As for ``accurate``, with the mid-band power; ``score`` weighs both."""
        return naturalness(super().validate(network, device))


def hint_loss(flows: list[Tensor], sides: Tensor, target: Tensor) -> Tensor:
    """Last term of (4): each side, warped alone at each level, against the truth.

    Args:
        flows: [2b, 2, y / 2^k, x / 2^k] px, one a level.
        sides: [2b, 1, y, x] below and above, normalised.
        target: [b, 1, y, x] normalised.
    """
    total = target.new_zeros(())
    truth = torch.cat((target, target))
    for flow in flows:
        factor = truth.shape[-1] // flow.shape[-1]
        small = F.avg_pool2d(sides, factor)
        total = total + (warp(small, flow) - F.avg_pool2d(truth, factor)).abs().mean()
    return total / len(flows)


def stacks_of(data: TrainingData) -> tuple[list[Any], list[float]]:
    """Return every block along every axis that may serve, [section, y, x], and how often each is drawn from."""
    fine = [stack_of(block, axis) for block in data.blocks for axis in data.axes]
    share = THICK_SHARE if data.thick else 0.0
    weights = [(1 - share) * w for w in shares(fine)]
    if data.thick:
        weights += [share * w for w in shares(data.thick)]
    return [*fine, *data.thick], weights


def predict(network: nn.Module, case: HeldOut, device: torch.device) -> tuple[Float, Float]:
    """Run the network on a held-out case; mean and log scale [y, x]."""
    four = dict(zip(case.offsets, case.known, strict=True))
    empty = np.zeros_like(case.truth)
    far = [four.get(min(case.offsets), empty), four.get(max(case.offsets), empty)]
    images = torch.from_numpy(np.stack((case.below, case.above, *far, case.base)))[:, None, None].to(device)
    clues = clues_of(case.offsets, case.below, case.above, case.error)
    with torch.inference_mode():
        answers = network(Sides(*images), Clues(*(torch.tensor([c], device=device) for c in clues)))
    mean, log_scale = (np.asarray(a[0, 0].float().cpu().numpy()) for a in answers)
    return mean, log_scale
