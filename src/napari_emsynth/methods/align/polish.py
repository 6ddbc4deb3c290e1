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
    """Return a field [b, 2, y, x] that lies better on what both sections show.

    Args:
        moving: [b, 1, y, x] normalised.
        fixed: [b, 1, y, x] normalised.
        known: [b, 2, y, x] 1 where moving and fixed are tissue, 0 elsewhere.
        displacement: [b, 2, y, x] px to start from.
    """
    moving, fixed = widely_smoothed(moving, NOISE_PX), widely_smoothed(fixed, NOISE_PX)
    u = displacement
    for sigma, times, by in WIDE:
        u = _binned_steps(moving, fixed, known, u, (sigma, times), by)
    target = equal_contrast(fixed, known[:, 1:], CONTRAST_PX)
    if _share(moving, target, known, u).mean() < LEAST_SHARE:
        # Neighbours hardly ever agree pixel by pixel; narrow windows would cost as much as all the others.
        return u
    fine = _steps(moving, fixed, known, u, NARROW, NARROW_SMOOTH_PX, CONTRAST_PX)
    return u + _share(moving, target, known, fine) * (fine - u)  # (2)


def _share(moving: Tensor, target: Tensor, known: Tensor, u: Tensor) -> Tensor:
    """Return a(r) of (2), [b, 1, y, x]."""
    pulled = equal_contrast(warp(moving, u), warp(known[:, :1], u), CONTRAST_PX)
    agree = correlation(pulled, target)
    return ((agree - AGREE[0]) / (AGREE[1] - AGREE[0])).clamp(0, 1)


def _binned_steps(
    moving: Tensor, fixed: Tensor, known: Tensor, u: Tensor, window: tuple[float, int], by: int
) -> Tensor:
    """Take steps through one wide window on binned sections; sections too small to be binned stay as they are."""
    size = (u.shape[-2], u.shape[-1])
    if min(size) < 16 * by:
        by = 1
    small = [
        F.avg_pool2d(image, by, ceil_mode=True, count_include_pad=False)
        for image in (moving, fixed, known, u)
    ]
    windows = ((window[0] / by, window[1]),)
    found = _steps(small[0], small[1], small[2], small[3] / by, windows, SMOOTH_PX / by, CONTRAST_PX / by)
    grown = F.interpolate(by * found, scale_factor=by, mode="bilinear", align_corners=False)
    return grown[..., : size[0], : size[1]]


def _steps(
    moving: Tensor,
    fixed: Tensor,
    known: Tensor,
    u: Tensor,
    windows: tuple[tuple[float, int], ...],
    smooth: float,
    contrast: float,
) -> Tensor:
    """Take steps (1) through one window after the other; lengths in px of these sections."""
    target = equal_contrast(fixed, known[:, 1:], contrast)
    for sigma, times in windows:
        for _ in range(times):
            u = _step(moving, target, known, widely_smoothed(u, smooth), sigma, contrast)
    return u


def equal_contrast(section: Tensor, known: Tensor, window: float) -> Tensor:
    """Return a section of zero mean and unit deviation in a window, 0 where it is unknown.

    Args:
        section: [b, 1, y, x].
        known: [b, 1, y, x] 1 where it is tissue.
        window: deviation of the Gaussian, px.
    """
    share = widely_smoothed(known, window) + 1e-3
    moments = widely_smoothed(torch.cat((section * known, section * section * known), dim=1), window) / share
    mean, square = moments.chunk(2, dim=1)
    return (section - mean) * known / ((square - mean * mean).clamp_min(0) + FLAT).sqrt()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return r of (2), [b, 1, y, x], of sections of equal contrast; 0 where one shows nothing."""
    products = widely_smoothed(torch.cat((a * b, a * a, b * b), dim=1), CONTRAST_PX)
    ab, aa, bb = products.chunk(3, dim=1)
    return ab / (aa * bb).sqrt().clamp_min(FLAT)


def _step(moving: Tensor, target: Tensor, known: Tensor, u: Tensor, sigma: float, contrast: float) -> Tensor:
    """Take one step (1) from ``u`` [b, 2, y, x]."""
    there = warp(known[:, :1], u)
    pulled = equal_contrast(warp(moving, u), there, contrast)
    counts = known[:, 1:] * there
    gy, gx = _gradient((pulled + target) / 2)
    off = (target - pulled) * counts
    moments = torch.cat((gy * gy, gy * gx, gx * gx, gy * off, gx * off), dim=1)
    yy, yx, xx, y, x = widely_smoothed(moments, sigma).chunk(5, dim=1)
    yy, xx = yy + EPSILON, xx + EPSILON
    determinant = yy * xx - yx * yx
    step = torch.cat((xx * y - yx * x, yy * x - yx * y), dim=1) / determinant
    return u + step.clamp(-STEP_PX, STEP_PX)  # (1)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return central differences along y and x, the border repeated; each [b, 1, y, x]."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2, (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2
