"""Gaussian and Laplacian pyramids of images.

Law: the Laplacian pyramid is linear and its loss is zero only for equal images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(image: Tensor) -> Tensor:
    """Smooth [b, c, y, x] with the 5-tap binomial kernel, border repeated."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=image.device, dtype=image.dtype) / 16.0
    c = image.shape[1]
    out = F.pad(image, (2, 2, 2, 2), mode="replicate")
    out = F.conv2d(out, taps.view(1, 1, 5, 1).expand(c, 1, 5, 1), groups=c)
    return F.conv2d(out, taps.view(1, 1, 1, 5).expand(c, 1, 1, 5), groups=c)


def laplacian(image: Tensor, levels: int) -> list[Tensor]:
    """Return ``levels`` band-pass images and the low-pass rest, finest first. image: [b, c, y, x]."""
    bands = []
    for _ in range(levels):
        low = F.avg_pool2d(blur(image), 2)
        bands.append(image - F.interpolate(low, size=image.shape[-2:], mode="bilinear", align_corners=False))
        image = low
    return [*bands, image]


def laplacian_l1(a: Tensor, b: Tensor, weight: Tensor | None = None, levels: int = 3) -> Tensor:
    """Mean absolute difference over the bands of a Laplacian pyramid.

    Args:
        a: [b, 1, y, x].
        b: [b, 1, y, x].
        weight: [b, 1, y, x] non-negative weight of each pixel, or None for all alike.
        levels: band-pass levels beside the low-pass rest, each counted alike.
    """
    total = a.new_zeros(())
    for band in laplacian(a - b, levels):
        if weight is None:
            total = total + band.abs().mean()
        else:
            w = F.interpolate(weight, size=band.shape[-2:], mode="area")
            total = total + (band.abs() * w).sum() / w.sum().clamp_min(1.0)
    return total / (levels + 1)
