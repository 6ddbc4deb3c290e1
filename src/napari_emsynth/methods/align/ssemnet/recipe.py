"""How ssEMnet's autoencoder is trained: by redrawing sections, nothing else.

With encoder ``f`` (weights theta), decoder ``g`` (weights phi) and sections ``x``, trained once and then frozen::

    L(theta, phi) = sum |x - g(f(x))|^2 + lambda (|theta|^2 + |phi|^2)                         (1)

Ours: (1) is divided by the number of pixels, so that its size does not depend on the crop, and lambda is chosen for
it; samples are single sections with the defects that other networks here are trained on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.metrics.image import psnr
from napari_emsynth.models.ssemnet import Autoencoder, Config
from napari_emsynth.training import recipe
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import judged
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.samples.pairs import Augmentation, SectionTriples
from napari_emsynth.training.samples.stacks import pulled
from napari_emsynth.volume import Float

# lambda of (1), per pixel.
DECAY = 1e-6
# Pixel sizes the training samples stand for: 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
# What the other recipes simulate on top of a section; what they do to the relation of three does not matter here.
DEFECTS = Augmentation(jitter=0.0, partial=0.0, one_sided=0.0, thinned=0.0)
# Validation: crops of this size (z, y, x), sections this far apart, moved by up to so many px, found within a reach.
TEST_SIZE, TEST_GAP, TEST_PX, REACH = (12, 176, 176), 2, 3.0, 6
# Worth in dB of reconstruction of a pixel of registration error.
DB_A_PIXEL = 4.0


class Recipe(recipe.Recipe):
    """How the autoencoder is trained and scored (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        batch: triples of sections a step.
        size: crop edge in px, a multiple of 16.
    """

    method = "align/ssemnet"
    objective = "autoencoder"
    voxel_nm = VOXEL_NM
    architecture, sizes = Autoencoder, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        batch: int = 3,
        size: int = 128,
    ) -> None:
        self.data, self.start, self.count = data, start, batch
        self.config = Config.from_json(config or {})
        self.samples = SectionTriples(data.blocks, axes=data.axes, size=size, augmentation=DEFECTS)

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Draw sections and return (1) with its terms."""
        lesson = self.samples.batch(rng, self.count).to(device)
        sections = torch.cat((lesson.below, lesson.target, lesson.above))  # [3b, 1, y, x]
        square = (sections - network(sections)).square().mean()
        size = sum(p.square().sum() for p in network.parameters())
        loss = square + DECAY * size  # (1)
        return loss, {"mse": square}

    def learner(self, plan: Plan, device: torch.device) -> recipe.Descent:
        """Gradient descent; the optimiser's own weight decay makes way for that of (1)."""
        return recipe.Descent(self, replace(plan, decay=0.0), device)

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """PSNR of the reconstruction, and how far off the features place a known shift, in px.

        ``score``: dB, less :data:`DB_A_PIXEL` for each px.
        """
        assert isinstance(network, Autoencoder)
        fidelity, errors = [], []
        rng = np.random.default_rng(0)
        for block in self.data.held_out:
            stack, peak = judged(block, TEST_SIZE)
            stack = whole(stack, network.config.multiple)
            with torch.no_grad():
                drawn = network(torch.from_numpy(stack)[:, None].to(device))[:, 0].cpu().numpy()
            fidelity.append(psnr(drawn, stack, peak))
            errors += [
                shift_error(network, *pair, float(rng.uniform(-TEST_PX, TEST_PX)), axis, device)
                for pair in zip(stack[:-TEST_GAP], stack[TEST_GAP:], strict=True)
                for axis in (0, 1)
            ]
        figures = {"psnr": float(np.mean(fidelity)), "shift_px": float(np.mean(errors))}
        return figures | {"score": figures["psnr"] - DB_A_PIXEL * figures["shift_px"]}


def whole(stack: Float, multiple: int) -> Float:
    """Cut the last two axes to multiples of so many px."""
    y, x = (n // multiple * multiple for n in stack.shape[-2:])
    return np.ascontiguousarray(stack[..., :y, :x])


def shift_error(network: Autoencoder, fixed: Float, other: Float, by: float, axis: int, device: torch.device) -> float:
    """Shift a section, find it by the smallest feature difference to another one, and return the error in px.

    Args:
        network: its encoder is asked.
        fixed: [y, x] normalised, multiples of the network's.
        other: [y, x] the section that is shifted.
        by: px, pull convention.
        axis: 0 = y, 1 = x.
        device: to compute on.
    """
    m = network.config.multiple
    margin = -(-REACH // m) * m
    u = np.zeros(2)
    u[axis] = by
    moving = np.moveaxis(pulled(other, u), axis, 0)
    still = np.moveaxis(fixed, axis, 0)
    edge = still.shape[0] - 2 * margin
    tries = np.stack([moving[margin + d : margin + d + edge] for d in range(-REACH, REACH + 1)])
    crops = np.concatenate((still[None, margin : margin + edge], tries))
    crops = np.ascontiguousarray(np.moveaxis(crops, 1, axis + 1))
    with torch.no_grad():
        features = network.encoder(torch.from_numpy(crops)[:, None].to(device))
        inner = features[..., 1:-1, 1:-1]
        cost = (inner[1:] - inner[:1]).square().mean(dim=(1, 2, 3)).cpu().numpy()
    return abs(valley(cost) - REACH + by)


def valley(cost: Float) -> float:
    """Where a row of values is smallest, to a fraction, by the parabola through the lowest three."""
    i = int(np.clip(cost.argmin(), 1, len(cost) - 2))
    before, here, after = (float(c) for c in cost[i - 1 : i + 2])
    bend = before - 2 * here + after
    return i + (0.5 * (before - after) / bend if bend > 0 else 0.0)
