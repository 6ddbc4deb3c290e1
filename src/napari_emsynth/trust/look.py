"""As sharp as tissue: a mean given the spectrum that acquired sections have, with grain of a real one.

A mean of what a section may have been lacks the detail that cannot be known. On sections of the open volume itself,
hidden and synthesised as ``m``, the power ``S`` of the mean, of the truth ``y``, of a neighbour ``n`` and of ``n - m``
is measured by radial frequency. Then, where there is detail to be judged (0.07 to 0.3 cycles/px, fading in and out)::

    g = sqrt(S_y / S_m), 1 to 1.5                                       equaliser                                (1)
    a = the root of  g^2 S_m + 2 a g C + a^2 S_(n-m) = S_y, 0 to 1.3    share of the neighbour's detail          (2)
        with  C = (S_n - S_m - S_(n-m)) / 2  their covariance
    natural = g * m + s a * (n - m)                                     as filters of small support              (3)

``s`` is 1, or less where (3) would cost the hidden sections more than :data:`MOST_COST_DB`. Nothing is learned
elsewhere and nothing is invented: what is added was acquired, in a neighbouring section that the record names.

The gain comes first because it is cheaper: of a least-squares mean, power added by gain costs ``(g - 1) / (g + 1)`` of
what the same power costs as independent grain. Conventions: images are [y, x] float32, normalised. Laws: a mean that is
as sharp as the truth is returned as it is; a constant is never changed; (3) does not depend on how an image is cut into
blocks, :data:`REACH` px away from the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.signal import oaconvolve

from napari_emsynth.errors import InputError
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import radial_power
from napari_emsynth.options import LOOKS, LookName
from napari_emsynth.volume import Float

# Radial bins of the measured spectra; from where on they are judged (fading in over half as much again), and up to
# where (fading out over 0.1): above, the power of most microscopes is noise, which costs and shows nothing.
BINS, LOWEST, HIGHEST, FADE_OUT = 32, 0.07, 0.3, 0.1
# Largest gain of (1), more would ring; and largest share of (2), for neighbours that are softer than the truth.
MOST_GAIN, MOST_SHARE = 1.5, 1.3
# Largest gain of (4).
MOST_WITHIN = 2.0
# What (3) may cost in PSNR, and how finely the share of the grain is halved until it costs no more.
MOST_COST_DB, HALVINGS = 1.4, 5
# Filters are this many px to each side; images below the smallest edge have no spectrum worth the name.
REACH, SMALLEST = 30, 64


def checked_look(look: str) -> LookName:
    """Return the look that was asked for.

    Raises:
        InputError: not one of accurate, natural.
    """
    for known in LOOKS:
        if look == known:
            return known
    raise InputError(f"look {look!r} is not one of {', '.join(LOOKS)}")


@dataclass(frozen=True)
class Hidden:
    """A hidden section: its ``mean`` as synthesised, its ``truth``, and a ``neighbour``; [y, x] each, normalised."""

    mean: Float
    truth: Float
    neighbour: Float


@dataclass(frozen=True)
class Look:
    """The filters of (3), [k, k] each, and what they were made of.

    Args:
        equaliser: of the mean.
        grain: of the neighbour's difference to it.
        gain: (1) by frequency, [BINS].
        share: (2) by frequency, times ``s``, [BINS].
    """

    equaliser: Float
    grain: Float
    gain: Float
    share: Float

    def draw(self, mean: Float, neighbour: Float) -> Float:
        """Return (3); both images [y, x] normalised."""
        return _filtered(mean, self.equaliser) + _filtered(neighbour - mean, self.grain)

    def told(self) -> dict[str, Any]:
        """Return what a record says of it: gain and share in the middle band, 0.1 to 0.3 cycles/px.

        A share below 0 is none of a neighbour's: it takes away what a section has in common with the thick one.
        """
        middle = (FREQUENCIES >= 0.1) & (FREQUENCIES <= HIGHEST)
        gain, share = (float(values[middle].mean()) for values in (self.gain, self.share))
        return {"within": round(1 - share, 3)} if share < 0 else {"gain": round(gain, 3), "grain": round(share, 3)}


FREQUENCIES: Float = np.asarray((np.arange(BINS) + 0.5) / (2 * BINS), dtype=np.float32)
"""Centres of the radial bins, cycles/px."""


def look_of(samples: Sequence[Hidden]) -> Look | None:
    """Return the look that gives hidden sections the truth's spectrum; None where they are too few or too small."""
    look = spectral_look(samples)
    return None if look is None else _affordable(look, samples)


def spectral_look(samples: Sequence[Hidden]) -> Look | None:
    """Return the same whatever it costs: only the spectrum of ``truth`` counts, not what it shows."""
    found = _spectra([(s.mean, s.truth, s.neighbour, s.neighbour - s.mean) for s in samples])
    if found is None:
        return None
    mean, truth, near, apart = found
    tiny = 1e-12 + 1e-6 * float(truth.max())
    judged = _judged()
    gain = 1 + judged * (np.clip(np.sqrt(truth / (mean + tiny)), 1, MOST_GAIN) - 1)  # (1)
    along = gain * (near - mean - apart) / 2
    lacking = np.maximum(truth - gain**2 * mean, 0)
    share = (np.sqrt(along**2 + apart * lacking) - along) / (apart + tiny)  # (2)
    share = judged * np.where(lacking > tiny, np.clip(share, 0, MOST_SHARE), 0)
    return Look(_kernel(gain, at_rest=1.0), _kernel(share, at_rest=0.0), gain, share)


def within_look(samples: Sequence[Hidden]) -> Look | None:
    """Return the look of sections that a thicker one is divided into, of which it is the mean.

    With ``a`` the thick section, what differs within it is amplified, and its mean stays what it is::

        h = sqrt((S_y - S_a) / S_(m-a)), 1 to 2;    natural = a + h * (m - a)                 (4)

    Args:
        samples: their mean (consistent with ``a``) and truth, and ``a`` itself in place of a neighbour.
    """
    found = _spectra([(s.truth, s.neighbour, s.neighbour - s.mean) for s in samples])
    if found is None:
        return None
    truth, thick, apart = found
    tiny = 1e-12 + 1e-6 * float(truth.max())
    within = np.clip(np.sqrt(np.maximum(truth - thick, 0) / (apart + tiny)), 1, MOST_WITHIN)  # (4)
    share = _judged() * (1 - within)
    gain = np.ones_like(share)
    return _affordable(Look(_kernel(gain, at_rest=1.0), _kernel(share, at_rest=0.0), gain, share), samples)


def _spectra(samples: Sequence[tuple[Float, ...]]) -> list[Float] | None:
    """Return the mean power of each image of the samples; None where they are too few or too small."""
    if not samples or min(n for images in samples for n in images[0].shape) < SMALLEST:
        return None
    return [np.mean([_spectrum(image) for image in images], axis=0) for images in zip(*samples, strict=True)]


def _judged() -> Float:
    """Return how far each frequency is judged, 0 to 1."""
    rising, falling = 2 * (FREQUENCIES / LOWEST - 1), 1 - (FREQUENCIES - HIGHEST) / FADE_OUT
    return np.asarray(np.clip(rising, 0, 1) * np.clip(falling, 0, 1), np.float32)


def _affordable(look: Look, samples: Sequence[Hidden]) -> Look:
    """Take less of the grain where all of it would cost too much."""
    drawn = [(_filtered(s.mean, look.equaliser), _filtered(s.neighbour - s.mean, look.grain), s) for s in samples]

    def cost(s: float) -> float:
        return float(np.mean([_cost(a + np.float32(s) * b, sample) for a, b, sample in drawn]))

    if cost(1.0) <= MOST_COST_DB:
        return look
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= MOST_COST_DB else (low, middle)
    return replace(look, grain=np.float32(low) * look.grain, share=np.float32(low) * look.share)


def _cost(drawn: Float, sample: Hidden) -> float:
    """PSNR in dB that an image costs beside the mean; the peak cancels."""
    before, after = (psnr(image, sample.truth, 1.0) for image in (sample.mean, drawn))
    return before - after if np.isfinite(before) else 0.0


def _spectrum(image: Float) -> Float:
    """Return the power of an image in :data:`BINS` radial bins."""
    at, power = radial_power(image)
    known = np.isfinite(power)
    return np.asarray(np.interp(FREQUENCIES, at[known], power[known]), dtype=np.float32)


def _kernel(response: Float, at_rest: float) -> Float:
    """Return a filter [k, k] of a radial frequency response; its sum, the response to a constant, is ``at_rest``."""
    n = 4 * REACH + 1
    f = np.fft.fftfreq(n)
    radius = np.hypot(f[:, None], f[None, :])
    wanted = np.interp(radius, [0.0, *FREQUENCIES], [at_rest, *response])
    whole = np.fft.fftshift(np.fft.ifft2(wanted).real)
    cut = slice(REACH, 3 * REACH + 1)
    taper = np.hanning(2 * REACH + 3)[1:-1]
    kernel = whole[cut, cut] * np.outer(taper, taper)
    kernel[REACH, REACH] += at_rest - kernel.sum()
    return np.asarray(kernel, dtype=np.float32)


def _filtered(image: Float, kernel: Float) -> Float:
    """Convolve an image [y, x] with a symmetric filter [k, k], mirrored about its edges."""
    padded = np.pad(image, REACH, mode="symmetric")
    return np.asarray(oaconvolve(padded, kernel, mode="valid"), dtype=np.float32)
