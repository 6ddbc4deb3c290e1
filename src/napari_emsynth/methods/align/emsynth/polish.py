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

from napari_emsynth.nn.gaussian import widely_smoothed
from napari_emsynth.nn.warp import warp

# Deviations in px: of the blur before gradients are taken, of the contrast's window.
NOISE_PX, CONTRAST_PX = 1.0, 12.0
# Wide windows (deviation in px, how often, bin of the sections that are looked through), and H's deviation. The answer
# to a warped section is the warped answer only where the steps have come to rest: with 5 of them it is off by 1.1 px,
# with 18 by 0.8.
WIDE, SMOOTH_PX = ((24.0, 6, 4), (16.0, 16, 2)), 6.0
NARROW, NARROW_SMOOTH_PX = ((12.0, 2), (8.0, 2)), 4.0
# (2): correlations from which narrow windows begin to count, and where they count fully.
AGREE = (0.88, 0.98)
# Narrow windows are not tried where less of (2) than this would let them count, mean over the section.
LEAST_SHARE = 0.02
# Variance a window needs to be told from noise; contrast below which a section counts as empty.
EPSILON, FLAT = 0.02, 0.05
# One step goes no further than this, px.
STEP_PX = 1.0


def polish(moving: Tensor, fixed: Tensor, known: Tensor, displacement: Tensor) -> Tensor:
    """Return a field [b, 2, y, x] that lies better on what both sections show; each pair is polished by itself.

    Args:
        moving: [b, 1, y, x] normalised.
        fixed: [b, 1, y, x] normalised.
        known: [b, 2, y, x] 1 where moving and fixed are tissue, 0 elsewhere.
        displacement: [b, 2, y, x] px to start from.
    """
    calm = widely_smoothed(torch.cat((moving, fixed), dim=1), NOISE_PX)
    pairs = torch.cat((calm, known), dim=1)  # [b, 4, y, x] moving, fixed, known of each
    u = displacement
    for sigma, times, by in WIDE:
        u = _binned_steps(pairs, u, (sigma, times), by)
    target = equal_contrast(pairs[:, 1::2], CONTRAST_PX)
    # Neighbours hardly ever agree pixel by pixel; narrow windows would cost as much as all the others.
    alike = (_share(pairs, target, u).mean(dim=(1, 2, 3)) >= LEAST_SHARE).cpu().tolist()
    which = [i for i, like in enumerate(alike) if like]
    if not which:
        return u
    if len(which) == len(u):
        return _narrowed(pairs, target, u)
    u[which] = _narrowed(pairs[which], target[which], u[which])
    return u


def _narrowed(pairs: Tensor, target: Tensor, u: Tensor) -> Tensor:
    """Return (2), [b, 2, y, x] px."""
    fine = _steps(pairs, u, NARROW, NARROW_SMOOTH_PX, CONTRAST_PX)
    return u + _share(pairs, target, fine) * (fine - u)  # (2)


def _share(pairs: Tensor, target: Tensor, u: Tensor) -> Tensor:
    """Return a(r) of (2), [b, 1, y, x]."""
    agree = correlation(equal_contrast(warp(pairs[:, ::2], u), CONTRAST_PX), target)
    return ((agree - AGREE[0]) / (AGREE[1] - AGREE[0])).clamp(0, 1)


def _binned_steps(pairs: Tensor, u: Tensor, window: tuple[float, int], by: int) -> Tensor:
    """Take steps through one wide window on binned sections; sections too small to be binned stay as they are."""
    size = (u.shape[-2], u.shape[-1])
    if min(size) < 16 * by:
        by = 1
    small = F.avg_pool2d(torch.cat((pairs, u / by), dim=1), by, ceil_mode=True, count_include_pad=False)
    windows = ((window[0] / by, window[1]),)
    found = _steps(small[:, :4], small[:, 4:], windows, SMOOTH_PX / by, CONTRAST_PX / by)
    grown = F.interpolate(by * found, scale_factor=by, mode="bilinear", align_corners=False)
    return grown[..., : size[0], : size[1]]


def _steps(pairs: Tensor, u: Tensor, windows: tuple[tuple[float, int], ...], smooth: float, contrast: float) -> Tensor:
    """Take steps (1) through one window after the other; lengths in px of these sections."""
    moving, fixed = pairs[:, ::2], pairs[:, 1::2]
    target = equal_contrast(fixed, contrast)
    for sigma, times in windows:
        for _ in range(times):
            u = _step(moving, target, fixed[:, 1:], widely_smoothed(u, smooth), sigma, contrast)
    return u


def equal_contrast(section: Tensor, window: float) -> Tensor:
    """Return a section of zero mean and unit deviation in a window, [b, 1, y, x], 0 where it is unknown.

    Args:
        section: [b, 2, y, x] a section, and 1 where it is tissue.
        window: deviation of the Gaussian, px.
    """
    values, known = section.chunk(2, dim=1)
    seen = values * known
    moments = widely_smoothed(torch.cat((known, seen, values * seen), dim=1), window)
    mean, square = (moments[:, 1:] / (moments[:, :1] + 1e-3)).chunk(2, dim=1)
    return (values - mean) * known / ((square - mean * mean).clamp_min(0) + FLAT).sqrt()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return r of (2), [b, 1, y, x], of sections of equal contrast; 0 where one shows nothing."""
    products = widely_smoothed(torch.cat((a * b, a * a, b * b), dim=1), CONTRAST_PX)
    ab, aa, bb = products.chunk(3, dim=1)
    return ab / (aa * bb).sqrt().clamp_min(FLAT)


def _step(moving: Tensor, target: Tensor, known: Tensor, u: Tensor, sigma: float, contrast: float) -> Tensor:
    """Take one step (1) from ``u`` [b, 2, y, x]; ``known`` [b, 1, y, x] is the fixed section's."""
    there = warp(moving, u)
    pulled = equal_contrast(there, contrast)
    gy, gx = _gradient((pulled + target) / 2)
    off = (target - pulled) * (known * there[:, 1:])
    moments = torch.cat((gy * gy, gy * gx, gx * gx, gy * off, gx * off), dim=1)
    yy, yx, xx, y, x = widely_smoothed(moments, sigma).chunk(5, dim=1)
    yy, xx = yy + EPSILON, xx + EPSILON
    step = torch.cat((xx * y - yx * x, yy * x - yx * y), dim=1) / (yy * xx - yx * yx)
    return u + step.clamp(-STEP_PX, STEP_PX)  # (1)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return central differences along y and x, the border repeated; each [b, 1, y, x]."""
    high, wide = (F.pad(image, sides, mode="replicate") for sides in ((0, 0, 1, 1), (1, 1, 0, 0)))
    return (high[..., 2:, :] - high[..., :-2, :]) / 2, (wide[..., 2:] - wide[..., :-2]) / 2
