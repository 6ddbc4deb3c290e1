"""Sharpness as power: how much of a section's detail survives.

Conventions: frequencies are cycles/px, 0 to 0.5; power is a density, so that white noise of variance v has
power v at every frequency whatever the image's size. Images are [y, x]; the mean is taken off and a Hann
window put on before the transform, so that neither brightness nor the image's edges leak into the bands.
Laws: ``mid_band_ratio(a, a)`` is 1; contrast times c is power times c squared; a blur lowers the mid band.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]

MID_BAND = (0.1, 0.3)


@dataclass(frozen=True)
class _Plane:
    """What the transforms of all images of one size share: [y, x // 2 + 1], the half that says all of real images.

    Args:
        window: [y, x] that is put on.
        frequency: of every Fourier sample, cycles/px.
        times: how often each counts: the half left out is the mirror image of what lies between the edges.
        bins: of the radial spectrum.
        index: bin of each sample, flat; ``bins`` for those beyond the last.
    """

    window: Float64
    frequency: Float64
    times: Float64
    bins: int
    index: NDArray[np.intp]


@lru_cache(maxsize=8)
def _plane(height: int, width: int) -> _Plane:
    fy, fx = np.fft.fftfreq(height), np.abs(np.fft.rfftfreq(width))
    frequency = np.hypot(fy[:, None], fx[None, :])
    times = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)
    bins = max(1, min(height, width) // 2)
    index = np.floor(frequency.ravel() * 2 * bins).astype(np.intp)
    # Frequency 0.5 itself belongs to the last bin; the corners beyond it to none.
    index[np.isclose(frequency.ravel(), 0.5)] = bins - 1
    return _Plane(
        np.outer(_hann(height), _hann(width)),
        frequency,
        np.ascontiguousarray(np.broadcast_to(times, frequency.shape)),
        bins,
        np.minimum(index, bins),
    )


def _hann(n: int) -> Float64:
    """Return a Hann window sampled at half-pixels: symmetric and nowhere zero, so one-pixel axes work too."""
    return np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2


def _power(img: Array) -> tuple[_Plane, Float64]:
    """Return the plane of an image's size, and its power density there."""
    image = np.asarray(img, dtype=np.float64)
    plane = _plane(*image.shape)
    known = np.isfinite(image)
    if known.all():
        centred = image - image.mean()
    else:
        # Unknown pixels become the mean: they add no detail of their own.
        mean = float(image[known].mean()) if known.any() else 0.0
        centred = np.where(known, image - mean, 0.0)
    spectrum = fft.rfft2(centred * plane.window)
    return plane, (spectrum.real**2 + spectrum.imag**2) / float((plane.window**2).sum())


def radial_power(img: Array) -> tuple[Float64, Float64]:
    """Return the radial power spectrum.

    Args:
        img: [y, x] intensities, any real dtype.

    Returns:
        Frequencies in cycles/px (bin centres up to 0.5, one bin per 1 / shorter edge) and the mean power
        density in each bin; NaN in a bin that holds no Fourier sample.
    """
    plane, power = _power(img)
    bins = plane.bins
    count, total = (
        np.bincount(plane.index, weights=values.ravel(), minlength=bins + 1)[:bins]
        for values in (plane.times, plane.times * power)
    )
    mean = np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)
    return (np.arange(bins) + 0.5) / (2 * bins), mean


def band_power(img: Array, band: tuple[float, float] = MID_BAND) -> float:
    """Return the mean power density between two frequencies.

    Args:
        img: [y, x] intensities.
        band: lowest and highest frequency in cycles/px, both included.

    Returns:
        Squared intensity units; NaN when the image is too small to have a Fourier sample in the band.
    """
    plane, power = _power(img)
    inside = (plane.frequency >= band[0]) & (plane.frequency <= band[1])
    return float(np.average(power[inside], weights=plane.times[inside])) if inside.any() else math.nan


def mid_band_ratio(img: Array, real: Array, band: tuple[float, float] = MID_BAND) -> float:
    """Return the power of ``img`` in the middle band over that of ``real``: 1 = as sharp as a real section.

    Args:
        img: [y, x] the section to judge.
        real: [y, x] an acquired section of the same tissue.
        band: lowest and highest frequency in cycles/px.

    Returns:
        0 or more; NaN when ``real`` has no power in the band.
    """
    reference = band_power(real, band)
    return band_power(img, band) / reference if reference > 0 else math.nan


def spectral_distance(images: Sequence[Array], reference: Sequence[Array]) -> float:
    """Return how far the mean radial spectrum of some images is from that of others.

    Args:
        images: [y, x] each, such as the reslices of a volume.
        reference: [y, x] each, such as its sections; all images are cut to the shortest edge there is.

    Returns:
        Root mean square of the difference in log10 power over the frequencies, in decades; 0 = the same spectrum.
    """
    edge = min(n for image in (*images, *reference) for n in image.shape)
    spectra = [
        np.log10(np.nanmean([radial_power(image[:edge, :edge])[1] for image in group], axis=0) + 1e-12)
        for group in (images, reference)
    ]
    return float(np.sqrt(np.nanmean((spectra[0] - spectra[1]) ** 2)))


def reslice_distance(volume: Array, sections: Array, every: int = 8) -> float:
    """Return how far the spectrum of a volume's reslices is from that of real sections, decades; 0 = the same.

    Args:
        volume: [z, y, x] with cubic voxels.
        sections: [n, y, x] acquired sections of the same tissue and pixel size.
        every: of how many reslices of each kind, xz and yz, one is taken.
    """
    reslices = [volume[:, y] for y in range(0, volume.shape[1], every)]
    reslices += [volume[:, :, x] for x in range(0, volume.shape[2], every)]
    return spectral_distance(reslices, list(sections))
