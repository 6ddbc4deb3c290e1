"""Self-supervised samples for whoever looks along z: runs of fine sections, and thick ones acquired of them.

Only where voxels are isotropic is the truth between sections known. A sample is a fine stack around one run: the fine
sections that one slab was averaged over, or those from one thin section to the next. What microscopes do is simulated
on top: other pixel sizes, sections that jitter, contrast that changes from section to section. Arrays are
[section, y, x].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from napari_emsynth.errors import InputError
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.training.pairs import log_uniform, stack_of
from napari_emsynth.training.planes import SHORTEST, Simulation, jittered, recontrasted, resized
from napari_emsynth.volume import Array, Float


@dataclass(frozen=True)
class Need:
    """What a run needs of a fine stack: thick sections ``-before .. after`` around the run's own, of ``factor`` each.

    Args:
        factor: fine sections a thick one, whole.
        before: thick sections before the run's.
        after: thick sections after it.
    """

    factor: int
    before: int = 3
    after: int = 4

    @property
    def sections(self) -> int:
        """Fine sections to read."""
        return (self.before + self.after) * self.factor


class Runs:
    """Draws fine stacks from intact isotropic blocks.

    Args:
        blocks: [z, y, x], any real dtype.
        axes: must be (0, 1, 2).
        size: crop edge in px, a multiple of 16.
        simulation: what is simulated on top.

    Raises:
        InputError: anisotropic voxels, or a block too small for a crop.
    """

    def __init__(
        self,
        blocks: Sequence[Array],
        *,
        axes: Sequence[int],
        size: int,
        simulation: Simulation = Simulation(),
    ) -> None:
        if len(axes) != 3:
            raise InputError(
                "what lies between sections is known in isotropic volumes only; this volume's sections are thicker "
                "than its pixels are wide, or its voxel size is unknown"
            )
        shortest = min(min(block.shape) for block in blocks)
        if shortest < SHORTEST:
            raise InputError(
                f"training needs blocks of at least {SHORTEST} px along every axis, got {shortest} px"
            )
        self.size, self.simulation = min(size, shortest // 16 * 16), simulation
        self.stacks = [(stack_of(block, axis), *robust_mean_std(block)) for block in blocks for axis in axes]
        self.deepest = min(stack.shape[0] for stack, _, _ in self.stacks)
        # Half of the samples look along the true z, which is what users stretch.
        sizes = np.array(
            [float(stack.size) * (2 if i % 3 == 0 else 1) for i, (stack, _, _) in enumerate(self.stacks)]
        )
        self.share = sizes / sizes.sum()

    def draw(self, rng: Generator, need: Need) -> Float:
        """Draw a fine stack [need.sections, size, size], normalised."""
        s = self.simulation
        stack, mean, std = self.stacks[rng.choice(len(self.stacks), p=self.share)]
        fine = (self._crop(rng, stack, need.sections) - np.float32(mean)) / np.float32(std)
        for axis in range(3):
            if rng.random() < 0.5:
                fine = np.flip(fine, axis)
        if rng.random() < 0.5:
            fine = fine.swapaxes(1, 2)
        fine = np.ascontiguousarray(fine)
        if rng.random() < s.jitter:
            fine = jittered(fine.swapaxes(0, 1).copy(), rng, need.factor, s.jitter_px).swapaxes(0, 1)
        if rng.random() < s.contrast:
            fine = recontrasted(fine.swapaxes(0, 1), rng, need.factor).swapaxes(0, 1)
        return np.ascontiguousarray(fine, np.float32)

    def _crop(self, rng: Generator, stack: Array, sections: int) -> Float:
        """Read [sections, size, size] at a random magnification."""
        s, wanted = self.simulation, (sections, self.size, self.size)
        factor = log_uniform(rng, s.rescale_range) if rng.random() < s.rescale else 1.0
        factor = max(factor, *(w / n for w, n in zip(wanted, stack.shape, strict=True)))
        read = [min(n, max(1, math.ceil(w / factor))) for w, n in zip(wanted, stack.shape, strict=True)]
        start = [int(rng.integers(0, n - r + 1)) for r, n in zip(read, stack.shape, strict=True)]
        cut = stack[tuple(slice(a, a + r) for a, r in zip(start, read, strict=True))].astype(np.float32)
        return resized(cut, wanted, factor)
