"""Our own default: a siamese U-Net with a flow hint, swap-symmetric, with a calibrated error estimate.

With sections ``a`` (below) and ``b`` (above), ``t`` in (0, 1) and side displacements ``u_a``, ``u_b``::

    w_a = sigmoid(l_a - l_b),  l_s = logit_s + log(1 - t_s),  t_a = t, t_b = 1 - t             (1)
    mean = w_a a(p + u_a) + w_b b(p + u_b) + (r_a + r_b) / 2                                   (2)
    half width of the 90 % interval = k exp(s),  k from held-out sections (ln 10 for a Laplace law)   (3)
    loss = LapL1(mean, y) + |mean - y|^2 + 0.1 (|mean - y| / e^s + s)
           + 0.25 mean_k |down_k(side)(p + u_k) - down_k(y)|                                   (4)

where ``u_k`` is the displacement hint at level k: without the last term the hints hardly leave zero. Four other
guesses of the mean are offered to the self-check, which mixes them in as far as the user's own sections ask for it (on
noisy, badly aligned sections they ask for the first, on smooth ones of another microscope for the last)::

    G_2 * mean,   (1 - t) a + t b,   G_1 * ((1 - t) a + t b),   both moved half way along a classical flow   (5)

The heads start at zero, so that training starts at linear interpolation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from napari_emsynth.methods.interpolate.gap import Gap, Synthesis
from napari_emsynth.methods.interpolate.held_out import (
    GAPS,
    HeldOut,
    held_out_cases,
    held_out_scores,
    naturalness,
)
from napari_emsynth.methods.interpolate.optical_flow import quick_half_way
from napari_emsynth.models.interpolation_unet import Answer, Config, InterpolationUNet
from napari_emsynth.models.jain2017 import CriticConfig, Discriminator
from napari_emsynth.nn.pyramid import laplacian_l1
from napari_emsynth.nn.warp import warp
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training import recipe
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.pairs import Augmentation, Lesson, SectionTriples
from napari_emsynth.trust.selfcheck import covering_factor
from napari_emsynth.volume import Float
from napari_emsynth.weights import store

# Cores of this edge keep the halo's share of the work small; memory stays under 1 GB.
TILE = 1024
# Widths of the rivals' blur in px: of the network's own mean, and of linear interpolation.
RIVAL_BLUR_PX, FLOOR_BLUR_PX = 2.0, 1.0
# Pixel sizes the training samples stand for: 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
# Where part of the section is known, its own pixels count this much: they need not be redrawn.
KNOWN_WEIGHT = 0.05


class Recipe(recipe.Recipe):
    """How the network is trained and scored (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        augmentation: what is simulated.
        batch: samples a step.
        size: crop edge in px.
    """

    method = "interpolate/emsynth"
    objective = "accurate"
    voxel_nm = VOXEL_NM

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        augmentation: Augmentation = Augmentation(),
        batch: int = 4,
        size: int = 128,
    ) -> None:
        self.data, self.start, self.count = data, start, batch
        self.config = Config.from_json(config or {})
        self.samples = SectionTriples(data.blocks, axes=data.axes, size=size, augmentation=augmentation)

    def build(self) -> nn.Module:
        """Build the network."""
        return InterpolationUNet(self.config)

    def loss(
        self, network: nn.Module, rng: Generator, device: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return (4) with its terms."""
        lesson = self.minibatch(rng, device)
        return self.objective_of(lesson, self.generate(network, lesson))

    def minibatch(self, rng: Generator, device: torch.device) -> Lesson:
        """Draw samples."""
        return self.samples.batch(rng, self.count).to(device)

    def generate(self, network: nn.Module, batch: Lesson) -> Answer:
        """Run the network."""
        assert isinstance(network, InterpolationUNet)
        return network.explain(batch.below, batch.above, batch.t, batch.span, batch.partial, batch.keep)

    @staticmethod
    def objective_of(lesson: Lesson, answer: Answer) -> tuple[Tensor, dict[str, float]]:
        """Return (4) of an answer, with its terms."""
        mean, log_scale, flows = answer
        weight = (1 - lesson.keep) + KNOWN_WEIGHT * lesson.keep
        error = mean - lesson.target
        pyramid = laplacian_l1(mean, lesson.target, weight)
        square = (weight * error**2).sum() / weight.sum()
        # The scale learns from the error but does not trade accuracy for confidence.
        likelihood = (
            weight * (error.abs().detach() * torch.exp(-log_scale) + log_scale)
        ).sum() / weight.sum()
        hint = hint_loss(flows, torch.cat((lesson.below, lesson.above)), lesson.target)
        loss = pyramid + square + 0.1 * likelihood + 0.25 * hint  # (4)
        return loss, {
            "l1": float(pyramid.detach()),
            "mse": float(square.detach()),
            "hint": float(hint.detach()),
        }

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR over linear interpolation on held-out sections; ``score`` is the mean gain in dB over the gaps."""
        return held_out_scores(self.data.held_out, lambda case: predict(network, case, device)[0])

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and the factor of (3) measured on held-out sections."""
        errors, scales = [], []
        for gap in GAPS:
            for case in held_out_cases(self.data.held_out, gap):
                mean, log_scale = predict(network, case, device)
                errors.append(case.truth - mean)
                scales.append(np.exp(log_scale))
        factor = covering_factor(np.stack(errors), np.stack(scales)) if errors else float(np.log(10))
        return super().facts(network, device) | {"factor": factor}


class Natural(Recipe, AdversarialRecipe):
    """Algorithm 1 of Jain 2017 on (4): the discriminator sees (below, section) and (below, mean).

    The arguments are those of :class:`Recipe`.
    """

    objective = "natural"
    scheme = Scheme(adversarial=0.4)

    def discriminator(self) -> nn.Module:
        """The siamese discriminator of Jain 2017, section 3.3."""
        return Discriminator(CriticConfig(images=2, size=self.samples.size))

    def fakes(self, batch: Lesson, output: Answer, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(below, mean): [b, 2, y, x]."""
        return torch.cat((batch.below, output.mean), dim=1)

    def reals(self, batch: Lesson, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """(below, section): [b, 2, y, x]."""
        return torch.cat((batch.below, batch.target), dim=1)

    def pixel_term(self, batch: Lesson, output: Answer) -> Tensor:
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


def predict(network: nn.Module, case: HeldOut, device: torch.device) -> tuple[Float, Float]:
    """Run the network half way between two sections; mean and log scale [y, x]."""
    pair = torch.from_numpy(np.stack((case.below, case.above)))[:, None, None].to(device)
    t, span = torch.tensor([0.5], device=device), torch.tensor([2.0 * case.gap], device=device)
    with torch.inference_mode():
        answers = network(pair[0], pair[1], t, span)
    mean, log_scale = (np.asarray(a[0, 0].float().cpu().numpy()) for a in answers)
    return mean, log_scale


class AtPosition(nn.Module):
    """The network at one position of one gap, as the engine wants it: channels in, channels out."""

    def __init__(self, network: InterpolationUNet, t: float, span: float) -> None:
        super().__init__()
        self.network, self.t, self.span = network, t, span

    def forward(self, x: Tensor) -> Tensor:
        """[b, 2 or 4, y, x] (below, above, and partial, keep) -> [b, 2, y, x] mean and log scale."""
        t, span = x.new_full((len(x),), self.t), x.new_full((len(x),), self.span)
        channels = x.chunk(x.shape[1], dim=1)
        return torch.cat(self.network(*channels[:2], t, span, *channels[2:]), dim=1)


class Emsynth:
    """The built method: the network and what its card says."""

    halo = 64

    def __init__(self, network: InterpolationUNet, factor: float, *, cautious: bool = True) -> None:
        self.network, self.factor, self.cautious = network.eval(), factor, cautious

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Synthesise one section, tile by tile."""
        if not (gap.below.any() or gap.above.any()):
            # Both sections are constant: nothing moves, and nothing may be invented.
            return Synthesis(np.zeros_like(gap.below))
        channels = [gap.below, gap.above]
        if gap.partial is not None and gap.keep is not None:
            channels += [gap.partial * gap.keep, gap.keep]
        mean, log_scale = run(
            AtPosition(self.network, gap.t, gap.span),
            np.stack(channels),
            halo=self.halo,
            runtime=runtime,
            tile=TILE,
            multiple=self.network.config.multiple,
            faces="inside",
            out_channels=2,
        )
        if not self.cautious:
            return Synthesis(mean, np.exp(log_scale))
        linear = (1 - gap.t) * gap.below + gap.t * gap.above
        rivals = (  # (5)
            lambda: gaussian_filter(mean, RIVAL_BLUR_PX),
            lambda: linear,
            lambda: gaussian_filter(linear, FLOOR_BLUR_PX),
            lambda: quick_half_way(gap.below, gap.above, gap.t),
        )
        return Synthesis(mean, np.exp(log_scale), rivals)


def build(params: Any, runtime: Runtime, weights: str | None) -> Emsynth:  # noqa: ARG001 - the common signature
    """Load weights and return the method.

    Raises:
        InputError: weights that are missing, damaged or of another architecture.
    """
    network, card = store.restored(
        SPEC.name, weights or SPEC.weights[0], lambda config: InterpolationUNet(Config.from_json(config))
    )
    # Mixing would take back the sharpness that the natural weights are for.
    return Emsynth(network, card.factor, cautious=card.objective != Natural.objective)


SPEC = MethodSpec(
    task="interpolate",
    id="emsynth",
    title="EMSynth",
    summary="A network that follows what moves between the sections and synthesises the missing one, "
    "with an error estimate. Repairs whole sections, runs of them, and damaged parts.",
    paper="this package; the U-Net and hybrid asked for in Jain 2017, section 6",
    build=build,
    weights=("accurate", "natural"),
    has_uncertainty=True,
    recipes={"accurate": Recipe, "natural": Natural},
)
