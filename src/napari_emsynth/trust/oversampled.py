"""How smooth sections are, and whether pixels are finer than what they show: then finer ones would add nothing.

The power spectrum of a section, transformed back, is its autocorrelation ``c(d)``. Camera noise lives at lag 0 alone;
structure is measured from lag 1 on::

    length = the lag d, in px, at which c(d) = c(1) / 2                                          (1)

Laws: neither brightness, nor contrast, nor white noise changes the length; in magnified images it grows in proportion.
Sections of low magnification, whose pixels are as large as the structures, have 1.5 to 3 px; at the pixel sizes that
people segment at it is 5 px and more (FIB-SEM at 10 nm: 8 px; reduced 4 times: 2.9 px, 8 times: 2.0 px).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.trust.validity import shown
from napari_emsynth.volume import Array, Volume

Float64 = NDArray[np.float64]

# Structures this long are resolved well beyond what super-resolution is for.
LIMIT_PX = 4.0
# Sections that are looked at, and their largest and smallest edge.
SECTIONS, EDGE, LEAST_EDGE = 5, 512, 32


def correlation_length(image: Array) -> float:
    """Return the length (1) in px, the mean over both axes' lags.

    Args:
        image: [y, x] intensities, any real dtype; pixels that are not finite count as the mean.

    Returns:
        px; infinite when the image is too small or too smooth to tell, NaN when it has no structure beyond noise.
    """
    window = np.outer(np.hanning(image.shape[0] + 2)[1:-1], np.hanning(image.shape[1] + 2)[1:-1])
    values, lags = _centred(image), min(image.shape) // 2
    # Windowing takes from long lags more than from short ones: what it takes is divided out.
    c = _autocorrelation(values * window, lags) / _autocorrelation(window, lags)
    if lags < 3 or not c[1] > 0:
        return math.nan
    below = np.flatnonzero(c[2:] < c[1] / 2)
    if not below.size:
        return math.inf
    d = int(below[0]) + 2
    return d - 1 + float((c[d - 1] - c[1] / 2) / (c[d - 1] - c[d]))  # (1)


def smoothness(volume: Volume) -> float:
    """Return how well adjacent pixels of sections correlate, ``c(1) / c(0)``: 1 at most, 0 for white noise.

    Args:
        volume: [z, y, x]; a few sections and their middle are read.

    Returns:
        The median over sections; NaN without structure.
    """
    known = [c for c in map(_adjacent, _middles(volume)) if math.isfinite(c)]
    return float(np.median(known)) if known else math.nan


def _adjacent(image: Array) -> float:
    """Return the correlation of adjacent pixels [y, x], the mean of both axes; NaN without structure."""
    values = _centred(image)
    power = float(np.mean(values**2))
    lagged = (np.mean(values[1:] * values[:-1]), np.mean(values[:, 1:] * values[:, :-1]))
    return float(np.mean(lagged)) / power if power > 0 else math.nan


def _centred(image: Array) -> Float64:
    """Return an image less its mean; 0 where it is not finite."""
    known = np.isfinite(image)
    mean = float(image[known].mean()) if known.any() else 0.0
    return np.where(known, image, mean).astype(np.float64) - mean


def _middles(volume: Volume) -> Iterator[Array]:
    """Read the middle of a few sections, away from the ends of the stack."""
    y, x = (slice(max(0, (n - EDGE) // 2), (n + EDGE) // 2) for n in volume.shape[1:])
    for z in np.unique(np.linspace(0, volume.shape[0] - 1, SECTIONS + 2).round().astype(int)[1:-1]):
        yield shown(volume, int(z), y, x)


def _autocorrelation(image: Float64, lags: int) -> Float64:
    """Return the autocorrelation at lags [0, lags) px, summed over lags along y and along x."""
    size = [2 * n for n in image.shape]
    full = np.fft.irfft2(np.abs(np.fft.rfft2(image, s=size)) ** 2, s=size)
    return full[:lags, 0] + full[0, :lags]


def oversampled(volume: Volume) -> float | None:
    """Return the correlation length of a volume's sections in px when it is plainly resolved already, else None.

    Args:
        volume: [z, y, x]; a few sections and their middle are read. Sections below 32 px cannot be told.
    """
    if min(volume.shape[1:]) < LEAST_EDGE:
        return None
    known = [length for length in map(correlation_length, _middles(volume)) if math.isfinite(length)]
    if not known:
        return None
    length = float(np.median(known))
    return length if length > LIMIT_PX else None
