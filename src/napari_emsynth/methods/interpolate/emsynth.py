"""Our own default: a siamese U-Net with a flow hint, swap-symmetric, with a calibrated error estimate.

With sections ``a`` (below) and ``b`` (above), ``t`` in (0, 1) and side displacements ``u_a``, ``u_b``::

    w_a = sigmoid(l_a - l_b),  l_s = logit_s + log(1 - t_s),  t_a = t, t_b = 1 - t             (1)
    mean = w_a a(p + u_a) + w_b b(p + u_b) + (r_a + r_b) / 2                                   (2)
    half width of the 90 % interval = k exp(s),  k from held-out sections (ln 10 for a Laplace law)   (3)
    loss = LapL1(mean, y) + |mean - y|^2 + 0.1 (|mean - y| / e^s + s)
           + 0.25 mean_k |down_k(side)(p + u_k) - down_k(y)|                                   (4)

where ``u_k`` is the displacement hint at level k: without the last term the hints hardly leave zero. Three cautious
rivals of the mean are offered to the self-check, which mixes them in as far as the user's own sections ask for it (on
noisy, badly aligned sections they ask for the first, on smooth ones of another microscope for the second)::

    G_2 * mean,   (1 - t) a + t b,   G_1 * ((1 - t) a + t b)                                   (5)

The heads start at zero, so that training starts at linear interpolation.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from napari_emsynth.methods.interpolate.gap import Gap, Synthesis
from napari_emsynth.metrics.image import psnr
from napari_emsynth.models.interpolation_unet import Config, InterpolationUNet
from napari_emsynth.nn.pyramid import laplacian_l1
from napari_emsynth.nn.warp import warp
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training import recipe
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

    def fingerprint(self) -> dict[str, Any]:
        """Name method, sizes and data."""
        return {
            "method": "interpolate/emsynth",
            "config": list(self.config.widths),
            "data": self.data.fingerprint(),
        }

    def network(self) -> nn.Module:
        """Build the network, starting weights loaded."""
        network = InterpolationUNet(self.config)
        if self.start is not None:
            network.load_state_dict(self.start)
        return network

    def loss(
        self, network: nn.Module, rng: Generator, device: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return (4) with its terms."""
        lesson: Lesson = self.samples.batch(rng, self.count).to(device)
        assert isinstance(network, InterpolationUNet)
        mean, log_scale, flows = network.explain(
            lesson.below, lesson.above, lesson.t, lesson.span, lesson.partial, lesson.keep
        )
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
        scores: dict[str, float] = {}
        gains = []
        for gap in (1, 2, 3, 4):
            ours, floor = [], []
            for below, truth, above, mean, std in held_out_triples(self.data.held_out, gap):
                guess, _ = predict(network, below, above, 0.5, 2.0 * gap, device)
                scale = std * 255.0 / dynamic_range(truth, mean, std)
                ours.append(psnr(guess * scale, truth * scale))
                floor.append(psnr(0.5 * (below + above) * scale, truth * scale))
            if ours:
                scores[f"psnr_{gap}"] = float(np.mean(ours))
                scores[f"linear_{gap}"] = float(np.mean(floor))
                gains.append(scores[f"psnr_{gap}"] - scores[f"linear_{gap}"])
        scores["score"] = float(np.mean(gains)) if gains else 0.0
        return scores

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and the factor of (3) measured on held-out sections."""
        errors, scales = [], []
        for gap in (1, 2, 3, 4):
            for below, truth, above, _, _ in held_out_triples(self.data.held_out, gap):
                mean, log_scale = predict(network, below, above, 0.5, 2.0 * gap, device)
                errors.append(truth - mean)
                scales.append(np.exp(log_scale))
        factor = covering_factor(np.stack(errors), np.stack(scales)) if errors else float(np.log(10))
        return {"config": asdict(self.config), "factor": factor, "voxel_nm": VOXEL_NM}


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


def dynamic_range(truth: Float, mean: float, std: float) -> float:
    """Width of the source's intensity range: 255 for 8-bit sources, the central spread for others."""
    low, high = float(truth.min()) * std + mean, float(truth.max()) * std + mean
    return 255.0 if low >= 0 and 1 < high <= 255 else max(high - low, 1e-6)


def held_out_triples(blocks: Any, gap: int, limit: int = 5, edge: int = 256) -> list[Any]:
    """Return up to ``limit`` (below, truth, above, mean, std) per block, normalised, centre-cropped to ``edge`` px."""
    out = []
    for block in blocks:
        mean, std = robust_mean_std(block)
        z, h, w = block.shape
        size = [min(edge, n) // 16 * 16 for n in (h, w)]
        y, x = h - size[0], w - size[1]
        centres: Any = (
            np.unique(np.linspace(gap, z - 1 - gap, limit).round().astype(int)) if z > 2 * gap else []
        )
        for k in centres:
            crops = [block[j, y : y + size[0], x : x + size[1]] for j in (k - gap, k, k + gap)]
            a, b, c = (((crop.astype(np.float32) - mean) / std) for crop in crops)
            out.append((a, b, c, mean, std))
    return out


def predict(
    network: nn.Module, below: Float, above: Float, t: float, span: float, device: torch.device
) -> tuple[Float, Float]:
    """Run the network on one normalised pair [y, x] (sizes multiples of 16); mean and log scale [y, x]."""
    pair = torch.from_numpy(np.stack((below, above)))[:, None, None].to(device)
    with torch.inference_mode():
        answers = network(
            pair[0], pair[1], torch.tensor([t], device=device), torch.tensor([span], device=device)
        )
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

    def __init__(self, network: InterpolationUNet, factor: float) -> None:
        self.network, self.factor = network.eval(), factor

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
        linear = (1 - gap.t) * gap.below + gap.t * gap.above
        rivals = (gaussian_filter(mean, RIVAL_BLUR_PX), linear, gaussian_filter(linear, FLOOR_BLUR_PX))  # (5)
        return Synthesis(mean, np.exp(log_scale), rivals)


def build(params: Any, runtime: Runtime, weights: str | None) -> Emsynth:  # noqa: ARG001 - the common signature
    """Load weights and return the method.

    Raises:
        InputError: weights that are missing, damaged or of another architecture.
    """
    tensors, card = store.load(SPEC.name, weights or SPEC.weights[0])
    network = InterpolationUNet(Config.from_json(card.config))
    store.fill(network, tensors, card)
    return Emsynth(network, card.factor)


SPEC = MethodSpec(
    task="interpolate",
    id="emsynth",
    title="EMSynth",
    summary="A network that follows what moves between the sections and synthesises the missing one, "
    "with an error estimate. Repairs whole sections, runs of them, and damaged parts.",
    paper="this package; the U-Net and hybrid asked for in Jain 2017, section 6",
    build=build,
    weights=("accurate",),
    has_uncertainty=True,
    recipes={"accurate": Recipe},
)
