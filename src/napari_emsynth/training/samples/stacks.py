"""Three-dimensional samples: small stacks cut from intact blocks, with simulated jitter.

Conventions: stacks are [z, y, x] float32, normalised by the block's robust mean and deviation; jitter is one shift
(dy, dx) px a section, pull convention: ``out(p) = in(p + u)``. In isotropic blocks any axis may serve as z.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from scipy.ndimage import shift

from napari_emsynth.errors import InputError
from napari_emsynth.training.samples.pairs import shares, stacks_of
from napari_emsynth.volume import Array, Float


def pulled(section: Float, u: Array) -> Float:
    """Return ``section(p + u)`` by cubic interpolation.

    Args:
        section: [y, x]; what comes from outside is reflected.
        u: (dy, dx) px.
    """
    # scipy pushes: out(p) = in(p - shift).
    return np.asarray(shift(section, -np.asarray(u), order=3, mode="mirror"), dtype=np.float32)


def jitter(stack: Float, shifts: Array) -> Float:
    """Pull every section [y, x] of a stack [z, y, x] by its own shift; shifts [z, 2] (dy, dx) px."""
    return np.stack([pulled(section, u) for section, u in zip(stack, shifts, strict=True)])


class StackSamples:
    """Draws crops of equal size from blocks.

    Args:
        blocks: arrays [z, y, x], any real dtype.
        axes: which may serve as z; (0, 1, 2) for isotropic blocks, (0,) otherwise.
        size: (z, y, x) voxels of a crop.

    Raises:
        InputError: no block is large enough for a crop.
    """

    def __init__(self, blocks: Sequence[Array], *, axes: Sequence[int], size: tuple[int, int, int]) -> None:
        self.size = size
        views = stacks_of(blocks, axes)
        self.stacks = [view for view in views if all(n >= s for n, s in zip(view[0].shape, size, strict=True))]
        if not self.stacks:
            largest = " x ".join(str(n) for n in max((v[0].shape for v in views), key=min))
            needed = " x ".join(str(n) for n in size)
            raise InputError(f"training needs a block of at least {needed} voxels (z, y, x), got {largest}")
        self.share = shares([stack for stack, _, _ in self.stacks])

    def draw(self, rng: Generator) -> Float:
        """Return one crop [z, y, x], rotated and mirrored in plane and along z at random."""
        stack, mean, std = self.stacks[rng.choice(len(self.stacks), p=self.share)]
        start = [int(rng.integers(0, n - s + 1)) for n, s in zip(stack.shape, self.size, strict=True)]
        crop = stack[tuple(slice(a, a + s) for a, s in zip(start, self.size, strict=True))]
        crop = (crop.astype(np.float32) - np.float32(mean)) / np.float32(std)
        crop = crop[:: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))]
        if rng.random() < 0.5 and self.size[1] == self.size[2]:
            crop = crop.transpose(0, 2, 1)
        return np.ascontiguousarray(crop)


def middle(stack: Array, size: tuple[int, int, int]) -> Array:
    """Return the central part of a stack, at most ``size`` (z, y, x) voxels."""
    window = []
    for n, s in zip(stack.shape, size, strict=True):
        first = max(0, (n - s) // 2)
        window.append(slice(first, first + min(s, n)))
    return stack[tuple(window)]
