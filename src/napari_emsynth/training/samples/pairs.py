"""Self-supervised samples: every intact section between two others is a lesson in interpolation.

Conventions: every section is normalised by its own robust mean and deviation; a sample's section ``k`` of a span of
``s`` lies at ``t = k / s``. In isotropic volumes all three axes serve. What users have is simulated on top: other
pixel sizes, jitter, contrast and brightness changes between sections, noise, charging stripes, dirt, blank parts, and
damaged regions of the section itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, zoom
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.tiling.transfer import sent
from napari_emsynth.volume import Array, Float

# Longest run of missing sections a sample imitates, plus one.
MAX_SPAN = 8


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How often (share of samples) and how strongly each defect is simulated.

    Args:
        rescale: share resampled in plane to another pixel size.
        rescale_range: smallest and largest magnification.
        jitter: share with independent shifts of the sections.
        jitter_px: smallest and largest standard deviation of a shift, drawn log-uniformly.
        contrast: share with a gain and an offset of each section.
        noise: share with added Gaussian noise, half of them correlated over a few px as in magnified sections.
        noise_max: largest standard deviation of it, in units of the volume's deviation.
        spoiled: share with stripes, dirt or a blank part on one of the two neighbours.
        partial: share in which part of the wanted section is known.
        one_sided: share in which only one neighbour is known.
        far_absent: share without far sections, and again as many with one only; of gaps with four.
        centred: share taken half way between the neighbours, at an even span.
        thinned: share that poses as a stack of thicker spacing: its span counts only every n-th section, so that
            the network reads how far things move from the images and not from the count.
    """

    rescale: float = 0.4
    rescale_range: tuple[float, float] = (0.5, 2.5)
    jitter: float = 0.15
    jitter_px: tuple[float, float] = (0.5, 5.0)
    contrast: float = 0.5
    noise: float = 0.2
    noise_max: float = 1.2
    spoiled: float = 0.05
    partial: float = 0.2
    one_sided: float = 0.03
    far_absent: float = 0.1
    centred: float = 0.6
    thinned: float = 0.5


@dataclass(frozen=True)
class Lesson:
    """One batch. All [b, 1, y, x] float32 normalised except t and span [b].

    ``keep`` is 1 where ``partial`` (the wanted section's own pixels) is given.
    """

    below: Tensor
    above: Tensor
    target: Tensor
    t: Tensor
    span: Tensor
    partial: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> Lesson:
        """Move every tensor, images in channels_last."""
        return Lesson(
            sent(self.below, device), sent(self.above, device), sent(self.target, device), self.t.to(device),
            self.span.to(device), sent(self.partial, device), sent(self.keep, device),
        )  # fmt: skip


def stack_of(block: Array, axis: int) -> Array:
    """View a block with ``axis`` first: the sections of a reslice direction."""
    return np.moveaxis(block, axis, 0)


@dataclass
class SectionStack:
    """A stack [section, y, x] whose sections are normalised one at a time; their statistics are measured once."""

    data: Array
    known: dict[int, tuple[float, float]] = field(default_factory=dict)

    def crop(self, z: int, y: slice, x: slice) -> Float:
        """Return a window of a section, less the section's robust mean and in units of its deviation."""
        if z not in self.known:
            self.known[z] = robust_mean_std(self.data[z])
        mean, std = self.known[z]
        return np.asarray((self.data[z, y, x].astype(np.float32) - mean) / std, dtype=np.float32)


def stacks_of(blocks: Sequence[Array], axes: Sequence[int]) -> list[tuple[Array, float, float]]:
    """Return every block along every axis, each with the block's robust mean and deviation."""
    known = [(block, *robust_mean_std(block)) for block in blocks]
    return [(stack_of(block, axis), mean, std) for block, mean, std in known for axis in axes]


def shares(stacks: Sequence[Array]) -> Float:
    """Return [stack] how often each is drawn from: every voxel counts alike, so that the shares add up to 1."""
    sizes = np.array([float(stack.size) for stack in stacks])
    return np.asarray(sizes / sizes.sum())


def smooth_noise(rng: Generator, size: int, sigma: float) -> Float:
    """Draw [size, size] smooth random values of unit deviation."""
    coarse = max(2, int(size / sigma) + 2)
    field = zoom(rng.standard_normal((coarse, coarse)), size / coarse, order=3)[:size, :size]
    return np.asarray(field / (field.std() + 1e-6), dtype=np.float32)


def log_uniform(rng: Generator, limits: tuple[float, float]) -> float:
    """Draw a number between two positive limits, every octave alike."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def common_divisor(rng: Generator, *numbers: int) -> int:
    """Draw one of the common divisors of positive integers, all alike."""
    common = int(np.gcd.reduce(numbers))
    return int(rng.choice([d for d in range(1, common + 1) if common % d == 0]))


def grain(rng: Generator, shape: tuple[int, ...]) -> Float:
    """Draw noise [section, y, x] of unit deviation; every other time correlated over 0.5 to 1.5 px."""
    noise = rng.standard_normal(shape)
    if rng.random() < 0.5:
        width = rng.uniform(0.5, 1.5)
        noise = gaussian_filter(noise, (0, width, width))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def random_keep(rng: Generator, size: int) -> Float:
    """Draw the intact part [size, size] of a damaged section: half planes, bands, blobs or boxes are missing."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    kind = rng.integers(4)
    if kind == 0:  # half of it
        angle = rng.uniform(0, 2 * np.pi)
        missing = np.cos(angle) * (y - rng.uniform(0.2, 0.8)) + np.sin(angle) * (x - rng.uniform(0.2, 0.8)) > 0
    elif kind == 1:  # a band, as a fold or crack leaves it
        angle, at, width = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7), rng.uniform(0.02, 0.15)
        bend = 0.04 * smooth_noise(rng, size, size / 3)
        missing = np.abs(np.cos(angle) * (y - at) + np.sin(angle) * (x - at) + bend) < width
    elif kind == 2:  # blobs, as dirt leaves them
        missing = smooth_noise(rng, size, rng.uniform(8, 24)) > rng.uniform(0.5, 1.5)
    else:
        y0, x0 = rng.uniform(0, 0.6, 2)
        h, w = rng.uniform(0.15, 0.5, 2)
        missing = (y > y0) & (y < y0 + h) & (x > x0) & (x < x0 + w)
    return 1.0 - np.asarray(missing, dtype=np.float32)


def spoil(rng: Generator, section: Float) -> Float:
    """Return a neighbour with charging stripes, dirt or a blank part, normalised units."""
    size = section.shape[-1]
    kind = rng.integers(3)
    if kind == 0:
        rows = gaussian_filter(rng.standard_normal(section.shape[0]), rng.uniform(1, 4))
        return np.asarray(section + rng.uniform(0.5, 2.0) * (rows / rows.std())[:, None], dtype=np.float32)
    bad = 1.0 - random_keep(rng, size)
    value = rng.uniform(-3, 3) if kind == 1 else rng.uniform(-2, 2)
    return np.asarray(section * (1 - bad) + bad * value, dtype=np.float32)


class SectionTriples:
    """Draws batches of (below, section, above) from intact blocks.

    Args:
        blocks: arrays [z, y, x], any real dtype.
        axes: along which sections are taken; (0, 1, 2) for isotropic blocks, (0,) otherwise.
        size: crop edge in px, a multiple of 16.
        augmentation: what is simulated on top.
        max_span: sections from below to above, at most.
        thick: further blocks, whose sections are taken along z only.

    Raises:
        InputError: a block too small for a crop, or with too few sections.
    """

    def __init__(
        self,
        blocks: Sequence[Array],
        *,
        axes: Sequence[int] = (0,),
        size: int = 128,
        augmentation: Augmentation = Augmentation(),
        max_span: int = MAX_SPAN,
        thick: Sequence[Array] = (),
    ) -> None:
        self.size, self.augmentation = size, augmentation
        stacks = [*(stack_of(block, axis) for block in blocks for axis in axes), *thick]
        self.stacks = [SectionStack(stack) for stack in stacks]
        for stack in stacks:
            if stack.shape[0] < 3:
                raise InputError(f"training needs at least 3 sections along each axis used, got {stack.shape[0]}")
            if min(stack.shape[1:]) < 32:
                raise InputError(f"training needs sections of at least 32 x 32 px, got {stack.shape[1:]}")
        self.share = shares(stacks)
        self.max_span = max_span

    def batch(self, rng: Generator, count: int) -> Lesson:
        """Draw ``count`` samples."""
        drawn = [self._sample(rng) for _ in range(count)]
        images = torch.from_numpy(np.stack([images for images, _, _ in drawn])[:, :, None])  # [b, 5, 1, y, x]
        below, target, above, partial, keep = images.unbind(1)
        t = torch.tensor([t for _, t, _ in drawn], dtype=torch.float32)
        span = torch.tensor([span for _, _, span in drawn], dtype=torch.float32)
        return Lesson(below, above, target, t, span, partial, keep)

    def _sample(self, rng: Generator) -> tuple[Float, float, float]:
        stack = self.stacks[rng.choice(len(self.stacks), p=self.share)]
        span, k = self._when(rng, len(stack.data))
        z0 = int(rng.integers(0, len(stack.data) - span))
        images = self._symmetries(rng, self._crops(rng, stack, (z0, z0 + k, z0 + span)))
        images = self._defects(rng, images)
        below, target, above = images
        if rng.random() < self.augmentation.one_sided:
            span, k, above = 2 * k, k, below
        if rng.random() < self.augmentation.thinned:
            stride = common_divisor(rng, k, span)
            span, k = span // stride, k // stride
        keep = np.zeros_like(target)
        if rng.random() < self.augmentation.partial:
            keep = random_keep(rng, self.size)
        return np.stack((below, target, above, target * keep, keep)), k / span, float(span)

    def _when(self, rng: Generator, sections: int) -> tuple[int, int]:
        longest = min(self.max_span, sections - 1)
        if rng.random() < self.augmentation.centred:
            k = int(rng.integers(1, longest // 2 + 1))
            return 2 * k, k
        span = int(rng.integers(2, longest + 1))
        return span, int(rng.integers(1, span))

    def _crops(self, rng: Generator, stack: SectionStack, zs: tuple[int, int, int]) -> Float:
        a = self.augmentation
        factor = 1.0
        if rng.random() < a.rescale:
            factor = log_uniform(rng, a.rescale_range)
        h, w = stack.data.shape[1:]
        edge = min(max(8, round(self.size / factor)), h, w)
        shift = np.zeros((3, 2))
        if rng.random() < a.jitter:
            shift = rng.normal(0, log_uniform(rng, a.jitter_px), (3, 2)) / max(factor, 1.0)
        y0, x0 = rng.integers(0, h - edge + 1), rng.integers(0, w - edge + 1)
        out = []
        for z, (dy, dx) in zip(zs, shift, strict=True):
            y = int(np.clip(y0 + round(dy), 0, h - edge))
            x = int(np.clip(x0 + round(dx), 0, w - edge))
            out.append(stack.crop(z, slice(y, y + edge), slice(x, x + edge)))
        crop = np.stack(out)
        if edge == self.size:
            return crop
        mode = "area" if edge > self.size else "bicubic"
        resized = F.interpolate(torch.from_numpy(crop)[None], size=(self.size, self.size), mode=mode)
        return np.asarray(resized[0].numpy())

    @staticmethod
    def _symmetries(rng: Generator, images: Float) -> Float:
        images = np.rot90(images, k=int(rng.integers(4)), axes=(1, 2))
        if rng.random() < 0.5:
            images = images[:, :, ::-1]
        return np.ascontiguousarray(images, dtype=np.float32)

    def _defects(self, rng: Generator, images: Float) -> Float:
        a = self.augmentation
        if rng.random() < a.contrast:
            bright, dark = rng.uniform(0.8, 1.25, 2)
            images = np.where(images > 0, images * np.float32(bright), images * np.float32(dark))
            gain, offset = rng.uniform(0.92, 1.08, (3, 1, 1)), rng.normal(0, 0.08, (3, 1, 1))
            gain[1], offset[1] = 0.5 * (gain[0] + gain[2]), 0.5 * (offset[0] + offset[2])
            images = np.asarray(images * gain + offset, dtype=np.float32)
        if rng.random() < a.noise:
            images = images + rng.uniform(0, a.noise_max) * grain(rng, images.shape)
        if rng.random() < a.spoiled:
            side = 2 * int(rng.integers(2))
            images[side] = spoil(rng, images[side])
        return images
