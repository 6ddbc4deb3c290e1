"""Image fidelity of one section against another.

Conventions: images are [y, x] of any real dtype, compared in float64; ``peak`` is the range of the source's
intensities (255 for 8 bits). Pixels that are not finite in either image are left out, not counted as errors.
Laws: ``psnr(a, a)`` is infinite, ``ssim(a, a)`` is 1; both are symmetric in their images.

Source of SSIM: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13 (2004) 600, eq. 13, with its 11x11 Gaussian
window of sigma 1.5 px, averaged where the window lies inside the image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]

WINDOW_SIGMA = 1.5
WINDOW_RADIUS = 5
K1, K2 = 0.01, 0.03


def _pair(a: Array, b: Array) -> tuple[Float64, Float64]:
    """Return both images as float64, after checking that they can be compared."""
    if a.shape != b.shape:
        raise InputError(f"images of shapes {a.shape} and {b.shape} px cannot be compared; shapes must be equal")
    return np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)


def psnr(a: Array, b: Array, peak: float = 255.0) -> float:
    """Return the peak signal-to-noise ratio in dB.

    Args:
        a: [y, x] intensities (any number of axes will do).
        b: the same shape.
        peak: intensity range of the source.

    Returns:
        dB; infinite when the images are equal, NaN when no pixel is finite in both.

    Raises:
        InputError: shapes differ.
    """
    a, b = _pair(a, b)
    squares = (a - b) ** 2
    squares = squares[np.isfinite(squares)]
    if squares.size == 0:
        return math.nan
    mse = float(squares.mean())
    return math.inf if mse == 0 else 10 * math.log10(peak**2 / mse)


def bin2(a: Array, factor: int) -> Float64:
    """Return the image averaged over blocks of ``factor`` x ``factor`` px.

    Args:
        a: [y, x] intensities; rows and columns that do not fill a block are dropped.
        factor: block edge in px, at least 1 and at most the image's shorter edge.

    Raises:
        InputError: the factor is below 1 or above the shorter edge.
    """
    y, x = a.shape
    if not 1 <= factor <= min(y, x):
        raise InputError(f"bin factor {factor} px is outside 1 to {min(y, x)} px, the image's shorter edge")
    h, w = y // factor, x // factor
    # Rows first: that walks through memory in order, and leaves the columns a factor less to do.
    rows = a[: h * factor, : w * factor].reshape(h, factor, w * factor).sum(axis=1, dtype=np.float64)
    means: Float64 = rows.reshape(h, w, factor).sum(axis=2) / factor**2
    return means


def psnr_binned(a: Array, b: Array, factor: int, peak: float = 255.0) -> float:
    """Return the PSNR in dB after binning both images to ``factor`` times the pixel size.

    On noisy sections a blur wins the plain PSNR; binned, the noise no longer decides.
    """
    return psnr(bin2(a, factor), bin2(b, factor), peak)


def _window_mean(image: Float64) -> Float64:
    return gaussian_filter(  # type: ignore[no-any-return]
        image, WINDOW_SIGMA, mode="reflect", truncate=WINDOW_RADIUS / WINDOW_SIGMA
    )


def _inside(image: Float64) -> Float64:
    """Drop the margin in which the window leaves the image; an axis without an inside is kept whole."""
    r = WINDOW_RADIUS
    return image[tuple(slice(r, n - r) if n > 2 * r else slice(None) for n in image.shape)]


def ssim(a: Array, b: Array, peak: float = 255.0) -> float:
    """Return the mean structural similarity, at most 1.

    Args:
        a: [y, x] intensities.
        b: [y, x].
        peak: intensity range of the source.

    Returns:
        1 for equal images; NaN when no window is finite in both.

    Raises:
        InputError: shapes differ.
    """
    a, b = _pair(a, b)
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a**2
    var_b = _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    values = _inside(luminance * structure)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


def coverage(truth: Array, mean: Array, half_width: Array) -> float:
    """Return the share of pixels whose truth lies within ``mean`` +- ``half_width``.

    Args:
        truth: [y, x] acquired intensities.
        mean: [y, x] estimate.
        half_width: [y, x] half width of the stated interval, same unit.

    Returns:
        0 to 1; NaN when no pixel is finite in all three.

    Raises:
        InputError: shapes differ.
    """
    truth, mean = _pair(truth, mean)
    truth, half_width = _pair(truth, half_width)
    known = np.isfinite(truth) & np.isfinite(mean) & np.isfinite(half_width)
    if not known.any():
        return math.nan
    return float((np.abs(truth - mean)[known] <= half_width[known]).mean())
