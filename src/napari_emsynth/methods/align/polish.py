"""A network's field made exact where the sections agree: Lucas-Kanade steps on sections of equal local contrast.

With ``f`` the fixed section and ``w`` the moving one pulled by ``u``, both of zero mean and unit deviation in a
Gaussian window, ``g`` the gradient of their mean, and ``G`` a Gaussian of deviation ``s``::

    (G * g g^T + e) d = G * g (f - w),   u <- H * u + d                                               (1)

``H`` smooths: what (1) cannot see it must not keep. Windows are wide at first. Narrow ones follow neurites, which run
on their own way from section to section; their step counts as far as the sections agree pixel by pixel::

    r = (G * f w) / sqrt((G * f f) (G * w w)),   u <- u + a(r) (u_narrow - u),   a = 0 .. 1 for r in AGREE   (2)

Sections are [b, 1, y, x] normalised, fields [b, 2, y, x] (dy, dx) px, pull. Law: sections that agree are not moved.
Source: Lucas & Kanade 1981; the weighting (2) is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.nn.pyramid import gaussian
from napari_emsynth.nn.warp import warp

# Deviations in px: of the blur before gradients are taken, of the contrast's window, of H.
NOISE_PX, CONTRAST_PX, SMOOTH_PX = 1.0, 12.0, 6.0
# Deviation of (1)'s window and how often, one after the other; and of the narrow one.
WIDE, NARROW = ((24.0, 3), (20.0, 2)), ((12.0, 2), (8.0, 2))
NARROW_SMOOTH_PX = 4.0
# (2): correlations from which narrow windows begin to count, and where they count fully.
AGREE = (0.88, 0.98)
# Variance a window needs to be told from noise; contrast below which a section counts as empty.
EPSILON, FLAT = 0.02, 0.05
# One step goes no further than this, px.
STEP_PX = 1.0


def polish(moving: Tensor, fixed: Tensor, known: Tensor, displacement: Tensor) -> Tensor:
    """Return a field [b, 2, y, x] that lies better on what both sections show.

    Args:
        moving: [b, 1, y, x] normalised.
        fixed: [b, 1, y, x] normalised.
        known: [b, 2, y, x] 1 where moving and fixed are tissue, 0 elsewhere.
        displacement: [b, 2, y, x] px to start from.
    """
    moving, fixed = gaussian(moving, NOISE_PX), gaussian(fixed, NOISE_PX)
    target = equal_contrast(fixed, known[:, 1:])
    u = displacement
    for sigma, times in WIDE:
        for _ in range(times):
            u = _step(moving, target, known, gaussian(u, SMOOTH_PX), sigma)
    fine = u
    for sigma, times in NARROW:
        for _ in range(times):
            fine = _step(moving, target, known, gaussian(fine, NARROW_SMOOTH_PX), sigma)
    agree = correlation(equal_contrast(warp(moving, fine), warp(known[:, :1], fine)), target)
    share = ((agree - AGREE[0]) / (AGREE[1] - AGREE[0])).clamp(0, 1)
    return u + share * (fine - u)  # (2)


def equal_contrast(section: Tensor, known: Tensor) -> Tensor:
    """Return a section of zero mean and unit deviation in a window, 0 where it is unknown; both [b, 1, y, x]."""
    share = gaussian(known, CONTRAST_PX) + 1e-3
    mean = gaussian(section * known, CONTRAST_PX) / share
    off = (section - mean) * known
    return off / (gaussian(off * off, CONTRAST_PX) / share + FLAT).sqrt()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return r of (2), [b, 1, y, x], of sections of equal contrast; 0 where one shows nothing."""
    products = gaussian(torch.cat((a * b, a * a, b * b), dim=1), CONTRAST_PX)
    ab, aa, bb = products.split(1, dim=1)
    return ab / (aa * bb).sqrt().clamp_min(FLAT)


def _step(moving: Tensor, target: Tensor, known: Tensor, u: Tensor, sigma: float) -> Tensor:
    """Take one step (1) from ``u`` [b, 2, y, x]."""
    there = warp(known[:, :1], u)
    pulled = equal_contrast(warp(moving, u), there)
    counts = known[:, 1:] * there
    gy, gx = _gradient((pulled + target) / 2)
    off = (target - pulled) * counts
    moments = torch.cat((gy * gy, gy * gx, gx * gx, gy * off, gx * off), dim=1)
    yy, yx, xx, y, x = gaussian(moments, sigma).split(1, dim=1)
    yy, xx = yy + EPSILON, xx + EPSILON
    determinant = yy * xx - yx * yx
    step = torch.cat((xx * y - yx * x, yy * x - yx * y), dim=1) / determinant
    return u + step.clamp(-STEP_PX, STEP_PX)  # (1)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return central differences along y and x, the border repeated; each [b, 1, y, x]."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2, (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
