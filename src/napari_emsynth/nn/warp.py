"""Warping by displacement fields, in two or three dimensions, and fields one after the other.

Convention: displacements are pixels, channel order (dy, dx) or (dz, dy, dx), pull: ``out(p) = in(p + u(p))``. Laws: a
zero displacement is the identity, an integer displacement is an exact shift; :func:`followed` is what pulls an image
that was pulled by one field by another, :func:`between` undoes one and does the other, so that
``followed(between(a, b), b) = a``. Fields on a lattice are combined by :mod:`napari_emsynth.fields.algebra`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.nn.kept import kept

# What linear interpolation is called, by the number of axes.
LINEAR = {2: "bilinear", 3: "trilinear"}
# Steps of the fixed-point iteration of :func:`between`; distortions are smooth, so that it converges fast: to 0.2^6 of
# itself where a field changes by 0.2 px a px.
ITERATIONS = 6


def pixel_grid(size: Sequence[int], like: Tensor) -> Tensor:
    """Return pixel centres [1, d, *size] as (y, x) or (z, y, x), on the device of ``like``, float32."""
    axes = [torch.arange(n, device=like.device, dtype=torch.float32) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def warp(image: Tensor, displacement: Tensor, mode: str = "bilinear") -> Tensor:
    """Pull ``image`` along ``displacement``.

    Args:
        image: [b, c, y, x] or [b, c, z, y, x].
        displacement: [b, 2, y, x] (dy, dx) px, or [b, 3, z, y, x] (dz, dy, dx) voxels.
        mode: "bilinear" (linear along every axis) or "nearest"; beyond the border the nearest pixel is repeated.
    """
    u = displacement.float()
    # grid_sample wants (x, y) or (x, y, z) in [-1, 1] between the centres of the corner pixels.
    scaled = []
    for axis, n in enumerate(image.shape[2:]):
        pixels = _scaled_pixels(n, image.device).view(-1, *(1,) * (image.ndim - 3 - axis))
        scaled.append(torch.add(pixels, u[:, axis], alpha=2.0 / max(n - 1, 1)))
    grid = torch.stack(scaled[::-1], dim=-1).to(image.dtype)  # [b, *size, d]
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


@kept
def _scaled_pixels(length: int, device: torch.device) -> Tensor:
    """Return the pixel centres [length] of an axis as grid_sample counts, float32."""
    places = torch.arange(length, dtype=torch.float64) * (2.0 / max(length - 1, 1)) - 1.0
    return places.to(device, torch.float32)


def followed(first: Tensor, then: Tensor) -> Tensor:
    """Return the field ``first + then o (id + first)``: warping by ``then``, and what came out by ``first``.

    Args:
        first: [b, d, *size] px.
        then: [b, d, *size] px.
    """
    return first + warp(then, first)


def between(wanted: Tensor, there: Tensor) -> Tensor:
    """Return ``u = wanted - there o (id + u)``: it pulls an image warped by ``there`` onto one warped by ``wanted``.

    Args:
        wanted: [b, d, *size] px.
        there: [b, d, *size] px, without folds.
    """
    u = wanted - there
    for _ in range(ITERATIONS):
        u = wanted - warp(there, u)
    return u


def inverted(u: Tensor) -> Tensor:
    """Return the field that undoes ``u`` [b, d, *size] px, without folds."""
    return between(torch.zeros_like(u), u)


def upsample_flow(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a displacement field [b, d, *coarse] to ``size`` px, its vectors scaled with it."""
    scale = size[0] / flow.shape[2]
    mode = LINEAR[flow.ndim - 2]
    return F.interpolate(flow, size=tuple(size), mode=mode, align_corners=False) * scale


def inside(displacement: Tensor) -> Tensor:
    """Return which pixels are pulled from within the image: [b, 1, *size], 1 inside, 0 beyond the border.

    Args:
        displacement: [b, d, *size] px.
    """
    pixels = pixel_grid(displacement.shape[2:], displacement)
    at = pixels + displacement.detach().float()
    last = pixels.flatten(2)[..., -1].view(1, -1, *(1,) * (pixels.ndim - 2))  # the corner opposite the origin
    return ((at >= 0) & (at <= last)).all(dim=1, keepdim=True).to(displacement.dtype)
