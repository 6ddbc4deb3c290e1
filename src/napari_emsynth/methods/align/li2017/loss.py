"""What Li & Fan's network is optimised for: no known displacement, only how alike the images become.

With ``f`` the fixed image, ``w(p) = m(p + u(p))`` the warped moving one, and ``<.>`` the mean over a window about p::

    NCC(p) = (<f w> - <f><w>) / sqrt((<f^2> - <f>^2 + e) (<w^2> - <w>^2 + e))                   (1)
    S = sum_p M(p) NCC(p) / sum_p M(p)          M: 1 where p + u(p) lies within the image        (2)
    R = mean_p |grad u(p)|^2                    forward differences, px / px                      (3)
    L = sum_k a_k (lambda R(u_k) - S(f_k, m_k, u_k))    k: resolutions, coarse to fine            (4)

where ``f_k`` and ``m_k`` are the images reduced by block means. From the paper [P]: an image-wise similarity maximised
at several resolutions jointly. Ours [O]: local NCC and its window, ``a = (0.3, 0.6, 1)`` at 1/4, 1/2 and 1/1, (3).

Images are [b, 1, y, x] or [b, 1, z, y, x], displacements [b, d, ...] px of their resolution, pull. Laws: NCC is between
-1 and 1, and gain and offset of either image do not matter; R of a constant field is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.nn.warp import inside, warp

MEAN_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Constants of (1) to (4), all [O].

    Args:
        window: edge of the window of (1), px of each resolution, odd.
        floor: ``e`` of (1), in squared deviations of the normalised images: what is flatter is no evidence.
        weights: ``a_k`` of (4), coarse to fine; with fewer resolutions the last ones count.
        smoothness: ``lambda`` of (4).
    """

    window: int = 9
    baseline: float = 1e-2
    weights: tuple[float, ...] = (0.3, 0.6, 1.0)
    smoothness: float = 1.0


def window_mean(image: Tensor, window: int) -> Tensor:
    """Mean over a window about each pixel, [b, c, *size]; at the border over what there is of it.

    Where an axis is shorter than the window, the window is as long as the axis (odd, at most so).
    """
    axes = image.ndim - 2
    for axis, n in enumerate(image.shape[2:]):
        edge = min(window, n - 1 + n % 2)
        shape = [edge if a == axis else 1 for a in range(axes)]
        pad = [edge // 2 if a == axis else 0 for a in range(axes)]
        image = MEAN_POOL[axes](image, shape, stride=1, padding=pad, count_include_pad=False)
    return image


def local_ncc(fixed: Tensor, warped: Tensor, config: LossConfig = LossConfig()) -> Tensor:
    """Return (1) at every pixel, [b, 1, *size], -1 to 1."""
    images = torch.cat((fixed, warped, fixed * fixed, warped * warped, fixed * warped), dim=1)
    f, w, ff, ww, fw = window_mean(images, config.window).chunk(5, dim=1)
    variances: Tensor = ((ff - f * f).clamp_min(0) + config.baseline) * ((ww - w * w).clamp_min(0) + config.baseline)
    found: Tensor = (fw - f * w) / variances.sqrt()  # (1)
    return found


def similarity(
    fixed: Tensor, moving: Tensor, displacement: Tensor, config: LossConfig = LossConfig(), known: Tensor | None = None
) -> Tensor:
    """Return (2), a number: 1 where the moving image, warped, is the fixed one.

    Args:
        fixed: [b, 1, *size].
        moving: [b, 1, *size].
        displacement: [b, d, *size] px.
        config: constants.
        known: [b, 1, *size] weight of each pixel of the fixed image, or None for all alike.
    """
    mask = inside(displacement) if known is None else inside(displacement) * known
    found = local_ncc(fixed, warp(moving, displacement), config)
    return (mask * found).sum() / mask.sum().clamp_min(1.0)  # (2)


def roughness(displacement: Tensor) -> Tensor:
    """Return (3), a number, of a field [b, d, *size] px."""
    total = displacement.new_zeros(())
    for axis in range(2, displacement.ndim):
        step = displacement.diff(dim=axis)
        total = total + step.square().sum() / max(step.numel() / displacement.shape[1], 1)
    return total  # (3)


def reduced(image: Tensor, factor: int) -> Tensor:
    """Block means: [b, c, *size] -> [b, c, *size / factor]."""
    return image if factor == 1 else MEAN_POOL[image.ndim - 2](image, factor)


def loss(
    fixed: Tensor,
    moving: Tensor,
    displacements: Sequence[Tensor],
    config: LossConfig = LossConfig(),
    known: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return (4), with the similarity and the roughness at full size.

    Args:
        fixed: [b, 1, *size].
        moving: [b, 1, *size].
        displacements: coarse to fine, [b, d, *size / 2^k] px of that resolution.
        config: constants.
        known: [b, 1, *size] weight of each pixel of the fixed image, or None for all alike.
    """
    total = fixed.new_zeros(())
    weights = config.weights[-len(displacements) :]
    for weight, u in zip(weights, displacements, strict=True):
        factor = fixed.shape[-1] // u.shape[-1]
        small = None if known is None else reduced(known, factor)
        alike = similarity(reduced(fixed, factor), reduced(moving, factor), u, config, small)
        rough = roughness(u)
        total = total + weight * (config.smoothness * rough - alike)  # (4)
    return total, {"ncc": alike.detach(), "roughness": rough.detach()}
