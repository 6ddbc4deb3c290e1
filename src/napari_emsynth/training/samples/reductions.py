"""Self-supervised samples for lateral super-resolution: neighbouring sections reduced by area, the middle one kept.

::

    low_i = (R fine(z + i g) - m) / s,   i = -n .. n,       R: mean of every f x f px            (1)
    fine  = (fine(z) - m) / s

with ``m`` and ``s`` the robust mean and deviation of the *reduced* block: that is what a user's volume is normalised
by. In isotropic blocks every axis serves as z. What users have is simulated on top: other pixel sizes, sections
further apart, stacks that end, neighbours out of place, contrast that changes from section to section, noise and dirt
on what was acquired. The fine section keeps its place and has no defects of its own.

Law: without defects the reduced middle section is ``R`` of the fine one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.tiling.transfer import sent
from napari_emsynth.training.samples.pairs import grain, log_uniform, shares, spoil, stack_of
from napari_emsynth.volume import Array, Float

# A block somewhat too small for a crop is magnified; one that is smaller still is left out where there are others.
MOST_MAGNIFIED = 1.3
# Sections of a block that its statistics are measured on.
MEASURED = 48
# Fewest low-resolution px that a crop may have.
SHORTEST = 4


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How often (share of samples) and how strongly each defect is simulated.

    Args:
        spacing: smallest and largest number of sections from one neighbour to the next.
        ended: share at an end of the stack, where the last section stands for those that are missing.
        rescale: share resampled in plane to another pixel size.
        rescale_range: smallest and largest magnification.
        jitter: share whose neighbours are out of place.
        jitter_px: smallest and largest deviation of their shifts, in low-resolution px, drawn log-uniformly.
        contrast: share with another contrast, and gains and offsets that change from section to section.
        noise: share with noise added to the reduced sections.
        noise_max: largest standard deviation of it, in units of the reduced volume's deviation.
        spoiled: share with stripes, dirt or a blank part on one neighbour.
    """

    spacing: tuple[int, int] = (1, 5)
    ended: float = 0.1
    rescale: float = 0.4
    rescale_range: tuple[float, float] = (0.6, 1.6)
    jitter: float = 0.5
    jitter_px: tuple[float, float] = (0.05, 1.0)
    contrast: float = 0.4
    noise: float = 0.3
    noise_max: float = 0.4
    spoiled: float = 0.05


@dataclass(frozen=True)
class Reduced:
    """A batch, normalised.

    Args:
        low: [b, n, y, x] neighbouring sections, low resolution.
        fine: [b, 1, f y, f x] the middle one as it is.
    """

    low: Tensor
    fine: Tensor

    def to(self, device: torch.device) -> Reduced:
        """Move both tensors, in channels_last."""
        return Reduced(sent(self.low, device), sent(self.fine, device))


class ReducedSections:
    """Draws batches of reduced sections with their truth from intact blocks.

    Args:
        blocks: [z, y, x], any real dtype.
        factor: f of (1).
        axes: along which sections are taken; (0, 1, 2) for isotropic blocks, (0,) otherwise.
        sections: seen at once, odd.
        size: edge of the fine crop in px; smaller where no block is large enough, always a multiple of 4 f.
        simulation: what is simulated on top.

    Raises:
        InputError: no block has a section large enough.
    """

    def __init__(
        self,
        blocks: Sequence[Array],
        *,
        factor: int,
        axes: Sequence[int] = (0,),
        sections: int = 5,
        size: int = 256,
        simulation: Simulation = Simulation(),
    ) -> None:
        self.factor, self.sections, self.simulation = factor, sections, simulation
        views = [stack_of(block, axis) for block in blocks for axis in axes]
        largest = max(min(view.shape[1:]) for view in views)
        step = SHORTEST * factor
        self.size = min(size, largest) // step * step
        if self.size == 0:
            raise InputError(
                f"training for a factor of {factor} needs sections of at least {step} x {step} px, got {largest} px"
            )
        wide = [view for view in views if min(view.shape[1:]) * MOST_MAGNIFIED >= self.size]
        self.stacks = [(view, *reduced_mean_std(view, factor)) for view in wide]
        self.share = shares(wide)

    def batch(self, rng: Generator, count: int) -> Reduced:
        """Draw ``count`` samples."""
        drawn = [self._sample(rng) for _ in range(count)]
        low, fine = (torch.from_numpy(np.stack(images)) for images in zip(*drawn, strict=True))
        return Reduced(low, fine[:, None])

    def _sample(self, rng: Generator) -> tuple[Float, Float]:
        """Return low [n, y, x] and fine [f y, f x]."""
        stack, mean, std = self.stacks[rng.choice(len(self.stacks), p=self.share)]
        images = (self._crops(rng, stack) - np.float32(mean)) / np.float32(std)
        images = symmetric(rng, images)
        if rng.random() < self.simulation.contrast:
            images = contrasted(rng, images)
        low = reduced(torch.from_numpy(images)[None], self.factor)[0].numpy()  # (1)
        return self._acquired(rng, low), images[self.sections // 2]

    def _sections(self, rng: Generator, count: int) -> list[int]:
        """Draw which sections of a stack of ``count`` are seen; beyond an end its last one is repeated."""
        n, (least, most) = self.sections // 2, self.simulation.spacing
        spacing = int(rng.integers(least, max(least, min(most, (count - 1) // max(2 * n, 1))) + 1))
        offsets = spacing * np.arange(-n, n + 1)
        if rng.random() < self.simulation.ended:
            known = int(rng.integers(0, n + 1)) * spacing
            offsets = offsets.clip(-known, None) if rng.random() < 0.5 else offsets.clip(None, known)
        low, high = -int(offsets.min()), count - 1 - int(offsets.max())
        middle = int(rng.integers(low, high + 1)) if low <= high else int(rng.integers(0, count))
        return [int(z) for z in (middle + offsets).clip(0, count - 1)]

    def _crops(self, rng: Generator, stack: Array) -> Float:
        """Read [n, size, size] px of source intensities at a random magnification, neighbours out of place."""
        s, edges = self.simulation, stack.shape[1:]
        factor = log_uniform(rng, s.rescale_range) if rng.random() < s.rescale else 1.0
        # A block too small for a crop is magnified.
        factor = max(factor, self.size / min(edges))
        edge = min(round(self.size / factor), *edges)
        corner = np.array([rng.integers(0, n - edge + 1) for n in edges])
        shifts = np.zeros((self.sections, 2))
        if rng.random() < s.jitter:
            shifts = rng.normal(0, log_uniform(rng, s.jitter_px) * self.factor / factor, shifts.shape)
            shifts[self.sections // 2] = 0
        corners = np.clip(corner + np.rint(shifts).astype(int), 0, np.array(edges) - edge)
        seen = [
            stack[z, y : y + edge, x : x + edge]
            for z, (y, x) in zip(self._sections(rng, len(stack)), corners, strict=True)
        ]
        crop = np.stack(seen).astype(np.float32)
        if edge == self.size:
            return crop
        mode = "area" if edge > self.size else "bicubic"
        resized = F.interpolate(torch.from_numpy(crop)[None], size=(self.size, self.size), mode=mode)
        return np.asarray(resized[0].numpy())

    def _acquired(self, rng: Generator, low: Float) -> Float:
        """Return reduced sections [n, y, x] with noise and dirt."""
        s = self.simulation
        if rng.random() < s.noise:
            low = low + np.float32(rng.uniform(0, s.noise_max)) * grain(rng, low.shape)
        if self.sections > 1 and rng.random() < s.spoiled:
            low = low.copy()
            side = int(rng.choice([i for i in range(self.sections) if i != self.sections // 2]))
            low[side] = spoil(rng, low[side])
        return np.ascontiguousarray(low, np.float32)


def reduced_mean_std(stack: Array, factor: int) -> tuple[float, float]:
    """Return the robust mean and deviation of a stack [z, y, x] once it is reduced."""
    some = stack[:: max(1, len(stack) // MEASURED)].astype(np.float32)
    return robust_mean_std(reduced(torch.from_numpy(np.ascontiguousarray(some))[None], factor)[0].numpy())


def symmetric(rng: Generator, images: Float) -> Float:
    """Return sections [n, y, x] turned and mirrored in plane, and their order reversed, at random."""
    images = np.rot90(images, k=int(rng.integers(4)), axes=(1, 2))
    images = images[:: int(rng.choice((-1, 1))), :, :: int(rng.choice((-1, 1)))]
    # A copy: of a single section reversed numpy thinks that it is contiguous as it is, and torch does not.
    return np.array(images, np.float32, order="C")


def contrasted(rng: Generator, images: Float) -> Float:
    """Return sections [n, y, x] with another contrast, and neighbours with a gain and an offset each."""
    bright, dark = rng.uniform(0.8, 1.25, 2).astype(np.float32)
    images = np.where(images > 0, images * bright, images * dark)
    gain, offset = rng.uniform(0.92, 1.08, (len(images), 1, 1)), rng.normal(0, 0.08, (len(images), 1, 1))
    gain[len(images) // 2], offset[len(images) // 2] = 1.0, 0.0
    return np.asarray(images * gain + offset, np.float32)
