"""As sharp as tissue: a mean given the spectrum that acquired sections have, and grain of a real one.

A mean of what a section may have been lacks the detail that cannot be known. On sections of the open volume itself,
hidden and synthesised, the power of the mean ``S_m``, of the truth ``S_y`` and of what a fitted filter leaves over of
acquired sections ``S_r`` are measured by radial frequency. Then::

    g = min(sqrt(S_y / S_m), 1.5)                        equaliser, where there is detail (f > 0.03 cycles/px)     (1)
    a = min(sqrt(max(S_y - g^2 S_m, 0) / S_r), 1)        grain, the same                                           (2)
    natural = g * mean + a * rest                        as filters of small support                               (3)

``rest`` is what the fitted filter leaves over of an intact section near by: real grain, of another place. Nothing is
learned elsewhere and nothing is invented: what is added was acquired, and the record says where.

The gain comes first because it is cheaper: of a least-squares mean, power added by gain costs ``(g - 1) / (g + 1)`` of
what the same power costs as grain. Conventions: images are [y, x] float32, normalised; frequencies are cycles/px. Laws:
a mean that is as sharp as the truth is returned as it is; low frequencies are never changed; (3) does not depend on how
an image is cut into blocks, :data:`REACH` px away from the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from napari_emsynth.errors import InputError
from napari_emsynth.metrics.spectrum import radial_power
from napari_emsynth.volume import Float

LookName = Literal["accurate", "natural"]
LOOKS: tuple[LookName, ...] = ("accurate", "natural")

# Radial bins of the measured spectra, and the frequency below which nothing is changed (fading in over as much again).
BINS, LOWEST = 32, 0.03
# Largest gain of (1): more would ring.
MOST_GAIN = 1.5
# Filters are this many px to each side.
REACH = 10
# Images below this edge have no spectrum worth the name, px.
SMALLEST = 2 * REACH + 12


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
class Spectra:
    """Mean power by radial frequency, [BINS] each: of means, of the sections they stand for, of what filters leave."""

    mean: Float
    truth: Float
    rest: Float


@dataclass(frozen=True)
class Look:
    """The filters of (3), [k, k] each, and what they were made of.

    Args:
        equaliser: of the mean.
        grain: of the rest.
        gain: (1) by frequency, [BINS].
        share: (2) by frequency, [BINS].
    """

    equaliser: Float
    grain: Float
    gain: Float
    share: Float

    def draw(self, mean: Float, rest: Float | None) -> Float:
        """Return (3).

        Args:
            mean: [y, x] normalised.
            rest: [y, x] what the filter left over of a real section; None for no grain.
        """
        drawn = _filtered(mean, self.equaliser)
        return drawn if rest is None else drawn + _filtered(rest, self.grain)

    def told(self) -> dict[str, Any]:
        """Return what a record says of it: gain and share in the middle band, 0.1 to 0.3 cycles/px."""
        middle = (_frequencies() >= 0.1) & (_frequencies() <= 0.3)
        return {
            "gain": round(float(self.gain[middle].mean()), 3),
            "grain": round(float(self.share[middle].mean()), 3),
        }


def spectra(means: Sequence[Float], truths: Sequence[Float], rests: Sequence[Float]) -> Spectra | None:
    """Measure spectra on hidden sections; None where they are too small.

    Args:
        means: [y, x] each, synthesised.
        truths: [y, x] each, what they stand for.
        rests: [y, x] each, what a fitted filter leaves over of acquired sections.
    """
    if not means or min(n for image in (*means, *truths, *rests) for n in image.shape) < SMALLEST:
        return None
    return Spectra(*(np.mean([_spectrum(i) for i in group], axis=0) for group in (means, truths, rests)))


def look_of(measured: Spectra) -> Look:
    """Return the look that gives means the truth's spectrum, (1) and (2)."""
    tiny = 1e-12 + 1e-6 * float(measured.truth.max())
    gain = np.clip(np.sqrt(measured.truth / (measured.mean + tiny)), 1.0, MOST_GAIN)
    lacking = np.maximum(measured.truth - gain**2 * measured.mean, 0.0)
    share = np.minimum(np.sqrt(lacking / (measured.rest + tiny)), 1.0)
    fade = np.clip(_frequencies() / LOWEST - 1, 0.0, 1.0)
    gain, share = 1 + fade * (gain - 1), fade * share
    return Look(_kernel(gain, at_rest=1.0), _kernel(share, at_rest=0.0), gain, share)


def _frequencies() -> Float:
    """Centres of the radial bins, cycles/px."""
    return np.asarray((np.arange(BINS) + 0.5) / (2 * BINS), dtype=np.float32)


def _spectrum(image: Float) -> Float:
    """Return the power of an image in :data:`BINS` radial bins."""
    at, power = radial_power(image)
    known = np.isfinite(power)
    return np.asarray(np.interp(_frequencies(), at[known], power[known]), dtype=np.float32)


def _kernel(response: Float, at_rest: float) -> Float:
    """Return a filter [k, k] of a radial frequency response; its sum, the response to a constant, is ``at_rest``."""
    n = 4 * REACH + 1
    f = np.fft.fftfreq(n)
    radius = np.hypot(f[:, None], f[None, :])
    wanted = np.interp(radius, [0.0, *_frequencies()], [at_rest, *response])
    whole = np.fft.fftshift(np.fft.ifft2(wanted).real)
    cut = slice(REACH, 3 * REACH + 1)
    taper = np.hanning(2 * REACH + 3)[1:-1]
    kernel = whole[cut, cut] * np.outer(taper, taper)
    kernel[REACH, REACH] += at_rest - kernel.sum()
    return np.asarray(kernel, dtype=np.float32)


def _filtered(image: Float, kernel: Float) -> Float:
    """Correlate an image [y, x] with a filter [k, k], mirrored about its edges."""
    padded = np.pad(image, REACH, mode="symmetric")
    with torch.inference_mode():
        drawn = F.conv2d(torch.from_numpy(padded)[None, None], torch.from_numpy(kernel)[None, None])
    return np.asarray(drawn[0, 0].numpy())
