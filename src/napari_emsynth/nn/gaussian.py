"""Gaussian smoothing of images and fields of any number of channels, in two or three dimensions.

Law: constants stay; away from the border linear ramps stay; beyond the border the nearest pixel is repeated.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# The Gaussian is cut off at so many deviations.
TRUNCATE = 3.0


def radius(sigma: float) -> int:
    """Return how far a Gaussian of deviation ``sigma`` px reaches, px."""
    return math.ceil(TRUNCATE * sigma)


def taps(sigma: float, like: Tensor) -> Tensor:
    """Return the normalised kernel [2 radius + 1], of the dtype and on the device of ``like``."""
    at = torch.arange(-radius(sigma), radius(sigma) + 1, device=like.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    return (kernel / kernel.sum()).to(like.dtype)


def smoothed(image: Tensor, sigma: float) -> Tensor:
    """Smooth along every spatial axis.

    Args:
        image: [b, c, y, x] or [b, c, z, y, x].
        sigma: deviation in px; 0 returns the image as it is.
    """
    if sigma == 0:
        return image
    r, axes, (b, c) = radius(sigma), image.ndim - 2, image.shape[:2]
    convolve = {2: F.conv2d, 3: F.conv3d}[axes]
    out = F.pad(image, (r, r) * axes, mode="replicate").reshape(
        b * c, 1, *(n + 2 * r for n in image.shape[2:])
    )
    for axis in range(axes):
        shape = [1] * axes
        shape[axis] = 2 * r + 1
        out = convolve(out, taps(sigma, image).view(1, 1, *shape))
    return out.reshape(image.shape)


def widely_smoothed(image: Tensor, sigma: float) -> Tensor:
    """Smooth an image, a wide Gaussian on a binned copy that is brought back.

    Bins are a quarter of the deviation at most, so that what they leave out is far below what the Gaussian does; near
    the border, where a bin is repeated instead of a pixel, the two differ more.

    Args:
        image: [b, c, y, x].
        sigma: deviation in px; 0 returns the image as it is.
    """
    by = 1 << max(0, int(math.log2(max(sigma, 1.0) / 4)))
    by = min(by, *image.shape[-2:])
    if by == 1:
        return smoothed(image, sigma)
    small = F.avg_pool2d(image, by, ceil_mode=True, count_include_pad=False)
    grown = F.interpolate(smoothed(small, sigma / by), scale_factor=by, mode="bilinear", align_corners=False)
    return grown[..., : image.shape[-2], : image.shape[-1]]
