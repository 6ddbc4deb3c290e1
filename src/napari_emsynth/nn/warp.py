"""Warping by displacement fields.

Convention: displacements are pixels, channel order (dy, dx), pull: ``out(p) = in(p + u(p))``. Law: a zero
displacement is the identity, an integer displacement is an exact shift.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return pixel centres [1, 2, y, x] as (y, x), on the device of ``like``, float32."""
    y = torch.arange(height, device=like.device, dtype=torch.float32)
    x = torch.arange(width, device=like.device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


def warp(image: Tensor, displacement: Tensor, mode: str = "bilinear") -> Tensor:
    """Pull ``image`` along ``displacement``.

    Args:
        image: [b, c, y, x].
        displacement: [b, 2, y, x] (dy, dx) px.
        mode: "bilinear" or "nearest"; beyond the border the nearest pixel is repeated.
    """
    h, w = image.shape[-2:]
    at = pixel_grid(h, w, image) + displacement.float()
    # grid_sample wants (x, y) in [-1, 1] between the centres of the corner pixels.
    x = at[:, 1] * (2.0 / max(w - 1, 1)) - 1.0
    y = at[:, 0] * (2.0 / max(h - 1, 1)) - 1.0
    grid = torch.stack((x, y), dim=-1).to(image.dtype)  # [b, y, x, 2]
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def upsample_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a displacement field [b, 2, y, x] to ``size`` px, its vectors scaled with it."""
    scale = size[0] / flow.shape[-2]
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=False) * scale
