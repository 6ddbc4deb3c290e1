"""Self-supervised samples of gaps: up to four sections, the one that is wanted, and the filter fitted beside it.

A *scene* is one way a gap can look: a stack along one axis, at which offsets sections are known, a pixel size, jitter,
noise, which neighbours are spoilt. Its filter is fitted on crops of the same scene, as it will be on the user's own
volume, and is remembered; samples are drawn from scenes. Scenes are numbered and follow from their number alone.

Conventions: every section is normalised by its own robust mean and deviation, so that steps of brightness between
sections are gone before anything is learned. Law: equal random numbers give equal samples, whatever was drawn before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.models.fitted_filter import Equations, Offsets, apply, best_ridge, equations, sides, solve, taps_of
from napari_emsynth.models.interpolation_unet import Clues, Sides, clues_of
from napari_emsynth.training.samples.pairs import (
    Augmentation,
    SectionStack,
    common_divisor,
    grain,
    log_uniform,
    random_keep,
    shares,
    spoil,
)
from napari_emsynth.volume import Array, Float

# Scenes there are; the network sees each several times, in other places.
SCENES = 4096
# Crops a scene's filter is fitted on, and every how many px.
FIT_CROPS, FIT_STEP = 6, 2
# Longest run of missing sections a sample imitates, plus one; thickest spacing of a stack that lacks none.
MAX_SPAN, MAX_SPACING = 8, 5


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One way a gap can look.

    Args:
        stack: number of the stack.
        offsets: of the known sections from the wanted one, far below to far above.
        thinned: the network is told distances divided by this.
        magnification: of the pixels.
        turns: quarter turns.
        mirrored: along x.
        jitter_px: deviation of the sections' shifts, px.
        contrast: whether gains and offsets differ from section to section.
        noise: deviation of added noise.
        spoilt: whether a near neighbour is damaged.
        partial: whether part of the wanted section is known.
    """

    stack: int
    offsets: Offsets
    thinned: int
    magnification: float
    turns: int
    mirrored: bool
    jitter_px: float
    contrast: bool
    noise: float
    spoilt: bool
    partial: bool


@dataclass(frozen=True)
class GapLesson:
    """One batch: what the network is given, and the truth; tensors [b, 1, y, x], normalised.

    ``keep`` is 1 where ``partial`` (the wanted section's own pixels) is given.
    """

    sides: Sides
    clues: Clues
    target: Tensor
    partial: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> GapLesson:
        """Move every tensor, images in channels_last."""

        def image(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)

        return GapLesson(
            Sides(*map(image, self.sides)), Clues(*(c.to(device) for c in self.clues)),
            image(self.target), image(self.partial), image(self.keep),
        )  # fmt: skip


class GapSamples:
    """Draws batches of gaps from intact stacks.

    Args:
        stacks: [section, y, x] each, any real dtype; views of isotropic blocks along each axis may be among them.
        weights: how often each is drawn from; None lets every voxel count alike.
        size: crop edge in px, a multiple of 16.
        augmentation: what is simulated on top.
        scenes: how many there are.

    Raises:
        InputError: a stack with fewer than 3 sections, or of sections below 32 x 32 px.
    """

    def __init__(
        self,
        stacks: Sequence[Array],
        *,
        weights: Sequence[float] | None = None,
        size: int = 128,
        augmentation: Augmentation = Augmentation(),
        scenes: int = SCENES,
    ) -> None:
        self.size, self.augmentation, self.scenes = size, augmentation, scenes
        for stack in stacks:
            if stack.shape[0] < 3:
                raise InputError(f"training needs at least 3 sections along each axis used, got {stack.shape[0]}")
            if min(stack.shape[1:]) < 32:
                raise InputError(f"training needs sections of at least 32 x 32 px, got {stack.shape[1:]}")
        self.stacks = [SectionStack(stack) for stack in stacks]
        share = np.asarray(weights, dtype=np.float64) if weights is not None else shares(stacks)
        self.share = share / share.sum()
        self._fits: dict[int, tuple[Float, float]] = {}

    def batch(self, rng: Generator, count: int) -> GapLesson:
        """Draw ``count`` samples."""
        drawn = [self._sample(rng, int(rng.integers(self.scenes))) for _ in range(count)]
        images = torch.from_numpy(np.stack([images for images, _ in drawn])[:, :, None])  # [b, 8, 1, y, x]
        *sides, target, partial, keep = images.unbind(1)
        clues = Clues(
            *(torch.tensor(values, dtype=torch.float32) for values in zip(*(c for _, c in drawn), strict=True))
        )
        return GapLesson(Sides(*sides), clues, target, partial, keep)

    def scene(self, number: int) -> Scene:
        """Return one scene."""
        rng = np.random.default_rng([number, len(self.stacks)])
        a = self.augmentation
        stack = int(rng.choice(len(self.stacks), p=self.share))
        offsets = _offsets(rng, len(self.stacks[stack].data), a)
        thinned = common_divisor(rng, *(abs(o) for o in offsets)) if rng.random() < a.thinned else 1
        return Scene(
            stack=stack,
            offsets=offsets,
            thinned=thinned,
            magnification=log_uniform(rng, a.rescale_range) if rng.random() < a.rescale else 1.0,
            turns=int(rng.integers(4)),
            mirrored=bool(rng.random() < 0.5),
            jitter_px=log_uniform(rng, a.jitter_px) if rng.random() < a.jitter else 0.0,
            contrast=bool(rng.random() < a.contrast),
            noise=float(rng.uniform(0, a.noise_max)) if rng.random() < a.noise else 0.0,
            spoilt=bool(rng.random() < a.spoiled),
            partial=bool(rng.random() < a.partial),
        )

    def fit(self, number: int) -> tuple[Float, float]:
        """Return the filter [s, taps, taps] of a scene and its root mean square error on crops left out."""
        if number not in self._fits:
            scene, rng = replace(self.scene(number), spoilt=False), np.random.default_rng([number, 1])
            places = []
            for _ in range(FIT_CROPS):
                *known, target = self._crops(rng, scene)
                places.append(equations(np.stack(known), target, FIT_STEP))
            ridge, error = best_ridge(places, scene.offsets)
            taps = taps_of(solve(reduce(Equations.__add__, places), scene.offsets, ridge))
            self._fits[number] = taps, float(np.sqrt(error))
        return self._fits[number]

    def _sample(self, rng: Generator, number: int) -> tuple[Float, tuple[float, ...]]:
        """Return [8, y, x]: the five of :class:`Sides`, target, partial, keep; and the clues."""
        scene, (taps, error) = self.scene(number), self.fit(number)
        *known, target = self._crops(rng, scene)
        base = apply(taps, np.stack(known))
        four = dict(zip(scene.offsets, known, strict=True))
        below, above, far_below, far_above = _placed(scene.offsets)
        near = [four[o] for o in (below, above)]
        far = [four[o] if o is not None else np.zeros_like(target) for o in (far_below, far_above)]
        keep = random_keep(rng, self.size) if scene.partial else np.zeros_like(target)
        offsets = tuple(o // scene.thinned if o > 0 else -(-o // scene.thinned) for o in scene.offsets)
        clues = clues_of(offsets, near[0], near[1], error)
        return np.stack((*near, *far, base, target, target * keep, keep)), clues

    def _crops(self, rng: Generator, scene: Scene) -> list[Float]:
        """Draw the known sections, in the order of the offsets, and the target; [y, x] each."""
        stack = self.stacks[scene.stack]
        count, h, w = stack.data.shape
        edge = min(max(8, round(self.size / scene.magnification)), h, w)
        reach = (*scene.offsets, 0)
        z = int(rng.integers(-min(reach), count - max(reach)))
        y0, x0 = rng.integers(0, h - edge + 1), rng.integers(0, w - edge + 1)
        shifts = rng.normal(0, 1, (len(reach), 2)) * scene.jitter_px / max(scene.magnification, 1.0)
        crops = []
        for o, (dy, dx) in zip(reach, shifts, strict=True):
            y, x = (int(np.clip(a + round(d), 0, n - edge)) for a, d, n in ((y0, dy, h), (x0, dx, w)))
            crops.append(stack.crop(z + o, slice(y, y + edge), slice(x, x + edge)))
        images = np.rot90(_resized(np.stack(crops), self.size), scene.turns, axes=(1, 2))
        images = np.ascontiguousarray(images[:, :, ::-1] if scene.mirrored else images)
        return list(self._defects(rng, scene, images))

    @staticmethod
    def _defects(rng: Generator, scene: Scene, images: Float) -> Float:
        """Change contrast, add noise, spoil a near neighbour; the target is last."""
        if scene.contrast:
            bright, dark = rng.uniform(0.8, 1.25, 2)
            images = np.where(images > 0, images * np.float32(bright), images * np.float32(dark))
            gain, offset = (rng.uniform(0.95, 1.05, (len(images), 1, 1)), rng.normal(0, 0.05, (len(images), 1, 1)))
            gain[-1], offset[-1] = gain[:-1].mean(), offset[:-1].mean()
            images = np.asarray(images * gain + offset, dtype=np.float32)
        if scene.noise:
            images = images + np.float32(scene.noise) * grain(rng, images.shape)
        if scene.spoilt:
            below, above, _, _ = _placed(scene.offsets)
            side = scene.offsets.index(below if rng.random() < 0.5 else above)
            images[side] = spoil(rng, images[side])
        return images


def _resized(crop: Float, size: int) -> Float:
    """Resample crops [s, edge, edge] to [s, size, size]: by area when they shrink, else bicubic."""
    edge = crop.shape[-1]
    if edge == size:
        return crop
    mode = "area" if edge > size else "bicubic"
    return np.asarray(F.interpolate(torch.from_numpy(crop)[None], size=(size, size), mode=mode)[0].numpy())


def _placed(offsets: Offsets) -> tuple[int, int, int | None, int | None]:
    """Return near below, near above, far below, far above; the near ones agree when one side is unknown."""
    below, above = sides(offsets)
    far = [side[1] if len(side) > 1 else None for side in (below, above)]
    return (below or above)[0], (above or below)[0], far[0], far[1]


def _offsets(rng: Generator, sections: int, a: Augmentation) -> Offsets:
    """Draw at which offsets sections are known: a run that is missing, or a stack that is coarser than it is posed."""
    for _ in range(100):
        near = _run(rng, a) if rng.random() < 0.5 else _spacing(rng, a)
        far_below, below, above, far_above = near
        chosen = {far_below, below, above, far_above} - {0}
        absent = rng.random()
        if absent < a.far_absent:
            chosen -= {far_below, far_above}
        elif absent < 2 * a.far_absent:
            chosen -= {far_below if rng.random() < 0.5 else far_above}
        if rng.random() < a.one_sided:
            chosen = {o for o in chosen if o < 0} if rng.random() < 0.5 else {o for o in chosen if o > 0}
        offsets = tuple(sorted(chosen))
        if max(*offsets, 0) - min(*offsets, 0) < sections:
            return offsets
    return (-1, 1)


def _run(rng: Generator, a: Augmentation) -> tuple[int, int, int, int]:
    """A run of missing sections: the far ones follow the near ones, or lie a little further away."""
    if rng.random() < a.centred:
        below = above = int(rng.integers(1, MAX_SPAN // 2 + 1))
    else:
        span = int(rng.integers(2, MAX_SPAN + 1))
        below = int(rng.integers(1, span))
        above = span - below
    further = [1 if rng.random() < 0.8 else int(rng.integers(2, 4)) for _ in range(2)]
    return -below - further[0], -below, above, above + further[1]


def _spacing(rng: Generator, a: Augmentation) -> tuple[int, int, int, int]:
    """A stack of thicker spacing: half way between sections, or at a position that upsampling asks for."""
    if rng.random() < a.centred:
        d = int(rng.integers(1, MAX_SPACING))
        return -2 * d, -d, d, 2 * d
    spacing = int(rng.integers(2, MAX_SPACING + 1))
    below = int(rng.integers(1, spacing))
    return -below - spacing, -below, spacing - below, 2 * spacing - below
