"""Self-supervised samples for sharpening reslices: planes of a volume, made coarser along one axis and drawn again.

Where voxels are isotropic every axis may play z, and planes come with their neighbours on both sides. Of anisotropic
volumes only the xy planes are fine along two axes: rows play sections, and the side planes, which lie a section apart,
are left out. What microscopes do is simulated on top: other pixel sizes, sections that jitter along the plane, contrast
that changes from section to section, noise.

The operators that acquire and draw again belong to the method and are handed in. Arrays are [planes, rows, columns]
while a sample is made; rows play z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator

from napari_emsynth.errors import InputError
from napari_emsynth.models.kriging import REACH, Correlation, Reach
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.training.samples.pairs import grain, log_uniform, shares
from napari_emsynth.volume import Array, Float

# Rows read beyond a crop on both sides, in thick sections: what cubic interpolation looks at.
MARGIN = 2
# Columns read beyond a crop on both sides, for jitter, px.
SLACK = 4
# Shortest axis that a block may have.
SHORTEST = 32
# Sections of a block whose pixels' correlation is measured.
MEASURED = 8


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """How often (share of samples) and how strongly each defect is simulated.

    Args:
        rescale: share resampled to another pixel size.
        rescale_range: smallest and largest magnification.
        jitter: share whose sections are shifted along the plane.
        jitter_px: largest standard deviation of a shift.
        contrast: share with another contrast, and gains and offsets that change from section to section.
        noise: share with noise added to the acquired sections.
        noise_max: largest standard deviation of it, in units of the volume's deviation.
        alone: share of planes shown without their neighbours.
    """

    rescale: float = 0.3
    rescale_range: tuple[float, float] = (0.5, 2.5)
    jitter: float = 0.1
    jitter_px: float = 1.0
    contrast: float = 0.4
    noise: float = 0.15
    noise_max: float = 0.6
    alone: float = 0.25


@dataclass(frozen=True)
class Acquired:
    """What the method's operators make of a fine crop.

    Args:
        thick: [planes, m, columns] acquired sections.
        start: [planes, rows, columns] those on the fine grid again.
        places: [rows] place of every row between two sections, in [0, 1).
        known: [rows] True where a row is an acquired section.
        shares: [m, rows] share of every acquired section that a row fills; None when sections are thin samples.
    """

    thick: Float
    start: Float
    places: Float
    known: Array
    shares: Float | None


@dataclass(frozen=True)
class Plane:
    """One sample: [planes, rows, columns] unless said, rows and columns of the crop's size.

    Args:
        acquired: what the microscope would have given, cut to the crop.
        truth: [rows, columns] the wanted plane.
        sides: whether the side planes are shown; they are 0 otherwise.
    """

    acquired: Acquired
    truth: Float
    sides: bool


class Acquire(Protocol):
    """Acquires a fine crop as a microscope does, and draws it again."""

    def __call__(
        self, fine: Float, wanted: range, noisy: Callable[[Float], Float], correlation: Correlation, reach: Reach
    ) -> Acquired:
        """Return what is acquired of a crop.

        Args:
            fine: [planes, rows, columns].
            wanted: rows.
            noisy: adds noise to thick sections.
            correlation: of the acquired pixels.
            reach: "plane" where the planes are neighbours, "row" where they are not.
        """


@dataclass(frozen=True)
class _Block:
    """A block [z, y, x] with its statistics."""

    data: Array
    mean: float
    std: float
    correlation: Correlation

    @classmethod
    def of(cls, data: Array) -> _Block:
        mean, std = robust_mean_std(data)
        some = data[:: max(1, len(data) // MEASURED)]
        return cls(data, mean, std, Correlation.measured([(s.astype(np.float32) - mean) / std for s in some]))


class PlaneSamples:
    """Draws planes from intact blocks.

    Args:
        blocks: [z, y, x], any real dtype.
        axes: (0, 1, 2) for isotropic blocks, (0,) otherwise.
        planes: planes shown, an odd number.
        size: rows and columns of a crop.
        simulation: what is simulated on top.

    Raises:
        InputError: a block too small for a crop.
    """

    def __init__(
        self,
        blocks: Sequence[Array],
        *,
        axes: Sequence[int],
        planes: int,
        size: int,
        simulation: Simulation = Simulation(),
    ) -> None:
        self.planes, self.simulation = planes, simulation
        self.isotropic = len(axes) == 3
        used = slice(None) if self.isotropic else slice(1, None)
        shortest = min(min(block.shape[used]) for block in blocks)
        if shortest < SHORTEST:
            raise InputError(f"training needs planes of at least {SHORTEST} x {SHORTEST} px, got {shortest} px")
        self.size = min(size, shortest // 16 * 16)
        self.blocks = [_Block.of(block) for block in blocks]
        self.share = shares(blocks)

    def draw(self, rng: Generator, factor: float, acquire: Acquire) -> Plane:
        """Draw one sample.

        Args:
            rng: decides.
            factor: by which the rows will be made coarser.
            acquire: does it.
        """
        s = self.simulation
        block = self.blocks[rng.choice(len(self.blocks), p=self.share)]
        view, known_sides = self._view(rng, block.data)
        margin = int(np.ceil(MARGIN * factor))
        fine, magnified = self._crop(rng, view, self.size + 2 * margin)
        fine = (fine - np.float32(block.mean)) / np.float32(block.std)
        sides = known_sides and rng.random() >= s.alone
        if not sides:
            fine = fine[len(fine) // 2][None]
        fine = self._symmetries(rng, fine)
        if rng.random() < s.jitter:
            fine = jittered(fine, rng, factor, s.jitter_px)
        fine = fine[:, :, SLACK : SLACK + self.size]
        if rng.random() < s.contrast:
            fine = recontrasted(fine, rng, factor)
        level = rng.uniform(0, s.noise_max) if rng.random() < s.noise else 0.0

        def noisy(thick: Float) -> Float:
            return thick + np.float32(level) * grain(rng, thick.shape) if level else thick

        first = max(0, min(margin, fine.shape[1] - self.size))
        wanted = range(first, first + self.size)
        correlation = block.correlation.magnified(magnified).noisy(level**2)
        acquired = acquire(fine, wanted, noisy, correlation, "plane" if sides else "row")
        truth = fine[len(fine) // 2, first : first + self.size]
        return Plane(self._shown(acquired), np.ascontiguousarray(truth), sides)

    def _shown(self, acquired: Acquired) -> Acquired:
        """Return the middle planes of what was drawn; a plane alone stands between empty ones."""
        if len(acquired.start) == 1:
            beside = ((self.planes // 2, self.planes // 2), (0, 0), (0, 0))
            return replace(acquired, start=np.pad(acquired.start, beside))
        inner = slice(REACH, len(acquired.start) - REACH)
        return replace(acquired, thick=acquired.thick[inner], start=acquired.start[inner])

    def _view(self, rng: Generator, block: Array) -> tuple[Array, bool]:
        """Return a block as [planes, rows, columns], and whether its planes are as near as its rows."""
        if not self.isotropic:
            return (block if rng.random() < 0.5 else block.swapaxes(1, 2)), False
        # Half of the samples look along the true z, which is what users stretch.
        rows = 0 if rng.random() < 0.5 else int(rng.integers(1, 3))
        others = [axis for axis in range(3) if axis != rows]
        normal, columns = others if rng.random() < 0.5 else others[::-1]
        return block.transpose(normal, rows, columns), True

    def _crop(self, rng: Generator, view: Array, rows: int) -> tuple[Float, float]:
        """Read [planes, rows, size + 2 SLACK] at a random magnification, which is told too.

        There are fewer rows where the block is short, and more planes than are shown: what is drawn of one depends on
        those around it.
        """
        s = self.simulation
        planes = self.planes + 2 * REACH if self.isotropic else 1
        wanted = (planes, rows, self.size + 2 * SLACK)
        factor = log_uniform(rng, s.rescale_range) if rng.random() < s.rescale else 1.0
        # A block too small for the magnification is magnified more.
        factor = max(factor, (wanted[2]) / view.shape[2], self.size / view.shape[1])
        read = [min(n, max(1, round(w / factor))) for w, n in zip(wanted, view.shape, strict=True)]
        start = [int(rng.integers(0, n - r + 1)) for r, n in zip(read, view.shape, strict=True)]
        cut = view[tuple(slice(a, a + r) for a, r in zip(start, read, strict=True))].astype(np.float32)
        rows = min(rows, max(self.size, int(read[1] * factor)))
        return resized(cut, (wanted[0], rows, wanted[2]), factor), factor

    @staticmethod
    def _symmetries(rng: Generator, fine: Float) -> Float:
        for axis in range(3):
            if rng.random() < 0.5:
                fine = np.flip(fine, axis)
        return np.ascontiguousarray(fine)


def resized(block: Float, shape: tuple[int, int, int], factor: float) -> Float:
    """Return a block [a, b, c] magnified by about ``factor`` to a shape: by area where it shrinks, else linearly."""
    if block.shape == shape:
        return block
    tensor = torch.from_numpy(np.ascontiguousarray(block))[None, None]
    if factor < 1:
        return np.asarray(F.interpolate(tensor, size=shape, mode="area")[0, 0].numpy())
    smooth = F.interpolate(tensor, size=shape, mode="trilinear", align_corners=False)
    return np.asarray(smooth[0, 0].numpy())


def along_sections(rng: Generator, rows: int, factor: float) -> Float:
    """Draw one standard normal number a thick section, linear in between: [rows]."""
    count = int(np.ceil(rows / factor)) + 2
    at = np.arange(rows) / factor + rng.random()
    return np.interp(at, np.arange(count), rng.standard_normal(count)).astype(np.float32)


def jittered(fine: Float, rng: Generator, factor: float, most_px: float) -> Float:
    """Shift rows along the columns as sections that jitter, up to ``most_px`` px: [planes, rows, columns]."""
    _, rows, columns = fine.shape
    shift = np.clip(rng.uniform(0, most_px) * along_sections(rng, rows, factor), -SLACK, SLACK)
    x = (2 * (np.arange(columns)[None] + shift[:, None]) + 1) / columns - 1
    y = np.broadcast_to(((2 * np.arange(rows) + 1) / rows - 1)[:, None], x.shape)
    grid = torch.from_numpy(np.stack((x, y), axis=-1).astype(np.float32))[None]
    moved = F.grid_sample(
        torch.from_numpy(fine)[None], grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return np.asarray(moved[0].numpy())


def recontrasted(fine: Float, rng: Generator, factor: float) -> Float:
    """Change the contrast, and gain and offset from section to section: [planes, rows, columns]."""
    bright, dark = rng.uniform(0.8, 1.25, 2).astype(np.float32)
    fine = np.where(fine > 0, fine * bright, fine * dark)
    rows = fine.shape[1]
    gain = 1 + 0.04 * along_sections(rng, rows, factor)
    offset = 0.06 * along_sections(rng, rows, factor)
    return np.asarray(fine * gain[:, None] + offset[:, None], np.float32)
