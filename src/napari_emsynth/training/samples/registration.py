"""Self-supervised samples for registration: pairs of sections under distortions that are known.

A sample is two sections of an intact stack, ``gap`` apart (0: the same section twice, with noise of its own), each
pulled by a distortion of its own::

    fixed(p) = A(p + d_A(p)),   moving(p) = B(p + d_B(p))
    moving(p + u(p)) ~ fixed(p)   with   u(p) = d_A(p) - d_B(p + u(p))                       (1)

``u`` holds the distortions alone. How the tissue itself differs between ``A`` and ``B`` is none of it: who learns
``u`` learns to look past that. Where ``A`` and ``B`` may lie beside each other, as in every stack that was cut, (1)
holds for the same section twice alone. But whatever is between two real neighbours, an answer follows a known ``g``::

    warped(p) = fixed(p + g(p)):   u_g(p) = g(p) + u_0(p + g(p))                             (2)

with ``u_0`` the answer to (moving, fixed) and ``u_g`` that to (moving, warped). Sections are [b, 1, y, x] normalised,
displacements [b, 2, y, x] (dy, dx) px, pull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy.ndimage import gaussian_filter
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.nn.warp import between
from napari_emsynth.tiling.transfer import sent
from napari_emsynth.training.samples.pairs import grain, log_uniform, shares, spoil, stacks_of
from napari_emsynth.volume import Array, Float


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What pairs look like; shares are of the samples, lengths are px and drawn log-uniformly.

    Args:
        max_gap: most sections between the two.
        magnify: smallest and largest magnification of the block.
        shift_px: range of the shifts' deviation.
        rotation_deg: largest deviation of the rotation.
        warp_px: range of the smooth fields' magnitude.
        wavelength_px: range of their correlation length.
        same: share of pairs that show the same section.
        strangers: share of pairs that do not overlap at all.
        spoiled: share with dirt, stripes or a blank part on one of the two.
        noise_max: largest deviation of added noise, in units of the volume's.
    """

    max_gap: int = 5
    magnify: tuple[float, float] = (0.8, 2.5)
    shift_px: tuple[float, float] = (0.2, 6.0)
    rotation_deg: float = 1.0
    warp_px: tuple[float, float] = (0.1, 5.0)
    wavelength_px: tuple[float, float] = (16.0, 96.0)
    same: float = 0.25
    strangers: float = 0.03
    spoiled: float = 0.08
    noise_max: float = 1.0


@dataclass(frozen=True)
class Pairs:
    """A batch: sections [b, 1, y, x], the known displacement [b, 2, y, x], and 1 where the two overlap at all [b]."""

    moving: Tensor
    fixed: Tensor
    displacement: Tensor
    related: Tensor

    def to(self, device: torch.device) -> Pairs:
        """Move every tensor, sections in channels_last."""
        return Pairs(
            sent(self.moving, device), sent(self.fixed, device), self.displacement.to(device), self.related.to(device)
        )


@dataclass(frozen=True)
class Triples:
    """A batch of real neighbours [b, 1, y, x], the fixed one also pulled by a known ``warp`` [b, 2, y, x] px."""

    moving: Tensor
    fixed: Tensor
    warped: Tensor
    warp: Tensor

    def to(self, device: torch.device) -> Triples:
        """Move every tensor, sections in channels_last."""
        moving, fixed, warped = (sent(s, device) for s in (self.moving, self.fixed, self.warped))
        return Triples(moving, fixed, warped, self.warp.to(device))


class SectionPairs:
    """Draws pairs from intact blocks.

    Args:
        blocks: arrays [z, y, x], any real dtype.
        axes: along which sections are taken; (0, 1, 2) for isotropic blocks, (0,) otherwise.
        size: edge of the sections shown, px.
        simulation: what the pairs look like.

    Raises:
        InputError: blocks with fewer than 3 sections or with sections smaller than half a crop.
    """

    def __init__(
        self,
        blocks: Sequence[Array],
        *,
        axes: Sequence[int] = (0,),
        size: int = 192,
        simulation: Simulation = Simulation(),
    ) -> None:
        self.size, self.simulation = size, simulation
        self.stacks = stacks_of(blocks, axes)
        for stack, _, _ in self.stacks:
            if stack.shape[0] < 3 or min(stack.shape[1:]) < size // 2:
                raise InputError(
                    f"training needs at least 3 sections of {size // 2} x {size // 2} px along each axis used, "
                    f"got {stack.shape}"
                )
        self.share = shares([stack for stack, _, _ in self.stacks])

    def batch(self, rng: Generator, count: int) -> Pairs:
        """Draw ``count`` samples."""
        drawn = [self._sample(rng) for _ in range(count)]
        tissue = torch.from_numpy(np.stack([d[0] for d in drawn]))  # [b, 2, Y, X] with a margin
        distortions = torch.from_numpy(np.stack([d[1] for d in drawn]))  # [b, 2 sections, 2, y, x]
        d_a, d_b = distortions.unbind(1)
        fixed, moving = (self._pulled(tissue[:, i : i + 1], d) for i, d in enumerate((d_a, d_b)))
        related = torch.tensor([d[2] for d in drawn], dtype=torch.float32)
        fixed, moving = (self._acquired(rng, image) for image in (fixed, moving))
        return Pairs(moving, fixed, between(d_a, d_b), related)  # (1)

    def triples(self, rng: Generator, count: int) -> Triples:
        """Draw ``count`` samples of which nothing need be known but the warp: (2) holds for any two sections."""
        drawn = [self._sample(rng) for _ in range(count)]
        tissue = torch.from_numpy(np.stack([d[0] for d in drawn]))  # [b, 2, Y, X] with a margin
        warps = torch.from_numpy(np.stack([d[1][0] for d in drawn]))  # [b, 2, y, x]
        # What is acquired is warped, noise and all: nothing else tells the two apart.
        fixed, moving = (self._acquired(rng, tissue[:, i : i + 1]) for i in range(2))
        inner = (..., *(slice(self._margin, self._margin + self.size),) * 2)
        return Triples(moving[inner], fixed[inner], self._pulled(fixed, warps), warps)

    def _sample(self, rng: Generator) -> tuple[Float, Float, float]:
        s = self.simulation
        stack, mean, std = self.stacks[rng.choice(len(self.stacks), p=self.share)]
        gap = 0 if rng.random() < s.same else int(rng.integers(1, min(s.max_gap, stack.shape[0] - 1) + 1))
        z = int(rng.integers(0, stack.shape[0] - gap))
        magnify = max(log_uniform(rng, s.magnify), self._whole / min(stack.shape[1:]))
        window = self._window(rng, stack, magnify)
        related = 0.0 if rng.random() < s.strangers else 1.0
        other = window if related else self._window(rng, stack, magnify)
        both = np.stack((stack[z][window], stack[z + gap][other])).astype(np.float32)
        tissue = self._resized((both - np.float32(mean)) / np.float32(std))
        tissue = tissue[:, :: int(rng.choice((-1, 1))), :: int(rng.choice((-1, 1)))]
        order = 1 if rng.random() < 0.5 else -1
        tissue = np.rot90(tissue[::order], int(rng.integers(4)), axes=(1, 2))
        return np.ascontiguousarray(tissue), np.stack([self._distortion(rng) for _ in range(2)]), related

    @property
    def _margin(self) -> int:
        return self.size // 8

    @property
    def _whole(self) -> int:
        return self.size + 2 * self._margin

    def _window(self, rng: Generator, stack: Array, magnify: float) -> tuple[slice, slice]:
        edge = min(int(np.ceil(self._whole / magnify)), *stack.shape[1:])
        y, x = (int(rng.integers(0, n - edge + 1)) for n in stack.shape[1:])
        return slice(y, y + edge), slice(x, x + edge)

    def _resized(self, sections: Float) -> Float:
        tensor = torch.from_numpy(sections)[None]
        size = (self._whole, self._whole)
        return np.asarray(F.interpolate(tensor, size=size, mode="bicubic", align_corners=False)[0])

    def _distortion(self, rng: Generator) -> Float:
        s = self.simulation
        drawn = Distortion(
            shift_px=log_uniform(rng, s.shift_px),
            rotation_deg=rng.uniform(0, s.rotation_deg),
            warp_px=log_uniform(rng, s.warp_px),
            wavelength_px=log_uniform(rng, s.wavelength_px),
        )
        field = drawn.draw(rng, (self.size, self.size))
        # Magnitudes that would fold the section are scaled down with their wavelength.
        return np.asarray(field * min(1.0, 0.12 * drawn.wavelength_px / max(drawn.warp_px, 1e-3)), np.float32)

    def _pulled(self, tissue: Tensor, d: Tensor) -> Tensor:
        """Pull tissue [b, 1, Y, X] by a distortion of its middle [b, 2, y, x], bicubic; beyond it is repeated."""
        m, n = self._margin, self._whole
        at = torch.arange(self.size, dtype=torch.float32) + m
        y = (at[:, None] + d[:, 0]) * (2.0 / (n - 1)) - 1.0
        x = (at[None, :] + d[:, 1]) * (2.0 / (n - 1)) - 1.0
        grid = torch.stack((x, y), dim=-1)
        return F.grid_sample(tissue, grid, mode="bicubic", padding_mode="border", align_corners=True)

    def _acquired(self, rng: Generator, images: Tensor) -> Tensor:
        """Give every section [b, 1, y, x] brightness, contrast, noise and dirt of its own."""
        s = self.simulation
        out = []
        for image in images[:, 0].numpy():
            seen = image * np.float32(rng.uniform(0.7, 1.3)) + np.float32(rng.normal(0, 0.3))
            if rng.random() < 0.3:
                seen = gaussian_filter(seen, rng.uniform(0.3, 1.2))
            seen = seen + np.float32(rng.uniform(0, 1) ** 2 * s.noise_max) * grain(rng, (1, *seen.shape))[0]
            if rng.random() < s.spoiled / 2:
                seen = spoil(rng, seen)
            out.append(np.asarray(seen, np.float32))
        return torch.from_numpy(np.stack(out)[:, None])
