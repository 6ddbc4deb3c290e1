"""The self-check: before a repair is trusted it is repeated where the truth is known.

A section that is intact, with intact neighbours at the same distances, is hidden, synthesised, and compared with the
truth, beside three floors. The same samples calibrate the repair. The factor that makes the predicted scales cover
90 % of the errors there is the one used for the error estimate (split conformal prediction; Vovk 2005, Papadopoulos
2002). And where a method offers more cautious rivals of its guess, they are mixed as was best there (stacking; Wolpert
1992, Breiman 1996)::

    mix = argmin |truth - sum_i mix_i guess_i|^2,  mix_i >= 0,  sum_i mix_i = 1          (1)

Law: no section is scored with a mix or a factor that its own truth helped to find, if there is another.

Conventions: everything is in normalised units of the hidden section; ``peak`` is the source's 8-bit range in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import nnls

from napari_emsynth.metrics.image import psnr
from napari_emsynth.trust.look import Look
from napari_emsynth.volume import Array, Float

# The stated interval holds this share of the errors.
SHARE = 0.9
# By what the scale of a Laplace law is multiplied to hold as many.
LAPLACE = math.log(1 / (1 - SHARE))
# Blur of the third floor: on noisy sections it wins PSNR.
BLUR_PX = 1.0
# A perfect answer (a constant volume) is reported as 99 dB: infinity is no JSON number.
PERFECT = 99.0
# What no network is needed for, see :meth:`Sample.floors`.
BASELINES = ("nearest", "linear", "blurred_linear", "fitted")


def baselines(below: Float, above: Float, t: float) -> dict[str, Float]:
    """Return what two sections give without a model: nearest, linear and blurred linear, each [y, x]."""
    linear = (1 - t) * below + t * above
    return {
        "nearest": below if t <= 0.5 else above,
        "linear": linear,
        "blurred_linear": np.asarray(gaussian_filter(linear, BLUR_PX), dtype=np.float32),
    }


def told_psnr(answer: Array, truth: Array, peak: float) -> float:
    """Return the PSNR of an answer in dB as reports tell it, 99 dB at most; arguments as of :func:`psnr`."""
    return min(psnr(answer, truth, peak), PERFECT)


def intensity_range(section: Array) -> float:
    """Return the 8-bit range of a source: 255 for 8 bits, the central 99.8 % of the values otherwise.

    Args:
        section: [y, x] acquired intensities.
    """
    if section.dtype.itemsize == 1:
        return 255.0
    values = section[np.isfinite(section)] if section.dtype.kind == "f" else section
    if values.size == 0:
        return 1.0
    low, high = np.percentile(values, (0.1, 99.9))
    return float(high - low) or 1.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One hidden section (or a window of it), normalised.

    Args:
        truth: [y, x].
        guesses: [y, x] each; the synthesis, then its rivals.
        scale: [y, x] its predicted scale.
        below: [y, x] the neighbour below.
        above: [y, x] the neighbour above.
        t: position between them.
        base: [y, x] answer of the filter that was fitted on the volume; linear interpolation where there is none.
        peak: the source's 8-bit range, in the same units.
        sections: [y, x] each, normalised by itself: those that may serve, and the hidden one, by their offset from it.
        empty: [y, x] True where there is no truth, or nothing to guess it from: nothing is scored there; None where
            all is.
    """

    truth: Float
    guesses: tuple[Float, ...]
    scale: Float
    below: Float
    above: Float
    t: float
    base: Float
    peak: float
    sections: Mapping[int, Float] = field(default_factory=dict)
    empty: Array | None = None

    def scored(self, image: Float) -> Float:
        """Return the pixels of an image [y, x] that are scored."""
        return image if self.empty is None else image[~self.empty]

    @property
    def known_truth(self) -> Float:
        """[y, x] the truth, NaN where nothing is scored."""
        return self.truth if self.empty is None else np.where(self.empty, np.float32(np.nan), self.truth)

    def baselines(self) -> dict[str, Float]:
        """Return what no network is needed for: those of two sections, and the fitted filter."""
        return {**baselines(self.below, self.above, self.t), "fitted": self.base}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the self-check found for a repair.

    Args:
        factor: from predicted scale to the half width of the 90 % interval.
        mix: share of each guess, see (1).
        look: what makes the mean look like tissue, and
        borrowed: the offset of the section whose grain it takes; None for the mean as it is.
        alone: half width of the 90 % interval, in normalised units, where one neighbour alone shows anything.
    """

    factor: float
    mix: tuple[float, ...] = (1.0,)
    look: Look | None = None
    borrowed: int | None = None
    alone: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A method beside what needs no model, on hidden truth.

    Args:
        psnr: of the method, dB.
        rivals: PSNR of what needs no model, by the names that reports use.
        n: hidden sections; of upsampling in plane, rows.
        called: what advice calls a rival, where that is another name.
    """

    psnr: float
    candidates: Mapping[str, float]
    n: int
    called: Mapping[str, str] = field(default_factory=dict)

    @property
    def baselines(self) -> dict[str, float]:
        """The rivals' PSNR by the names that advice knows."""
        return {self.called.get(name, name): psnr for name, psnr in self.candidates.items()}

    @property
    def beats_floors(self) -> bool:
        """True when the method is at least as good as every floor."""
        return self.psnr >= max(self.candidates.values())

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        figures = {name: round(value, 4) for name, value in {"psnr": self.psnr, **self.candidates}.items()}
        return figures | {"n": self.n, "beats_floors": self.beats_floors}


@dataclass(frozen=True, kw_only=True)
class SelfCheck(Beside):
    """What was found for a repair, and its calibration."""

    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        mix = [round(m, 4) for m in self.calibration.mix]
        return super().to_json() | {"factor": round(self.calibration.factor, 4), "mix": mix}


def beside(answers: Iterable[tuple[Mapping[str, Array], Array, float]]) -> tuple[float, dict[str, float]]:
    """Return the mean PSNR of the method and of its rivals, dB.

    Args:
        answers: of every hidden section: by rival, and by "psnr" the method's; the truth; its 8-bit range.
    """
    scores: dict[str, list[float]] = {}
    for given, truth, peak in answers:
        for name, answer in given.items():
            scores.setdefault(name, []).append(told_psnr(answer, truth, peak))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    return means.pop("psnr"), means


def mixed(guesses: Sequence[Float], mix: Sequence[float]) -> Float:
    """Return the weighted sum of guesses [y, x]; with fewer weights than guesses the rest is ignored."""
    total = np.zeros_like(guesses[0])
    for guess, share in zip(guesses, mix, strict=False):
        total += np.float32(share) * guess
    return total


def fit_mix(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Return the mix (1) that is best on ``samples``."""
    count = len(samples[0].guesses)
    if count == 1:
        return (1.0,)
    columns = [np.concatenate([s.scored(s.guesses[i]).ravel() for s in samples]) for i in range(count)]
    a = np.stack(columns, axis=1).astype(np.float64)
    b = np.concatenate([s.scored(s.truth).ravel() for s in samples]).astype(np.float64)
    # The sum is held to 1 by a row so heavy that nothing else matters to it; small normal equations keep it cheap.
    heavy = 1e3 * len(b)
    gram, right = a.T @ a + heavy, a.T @ b + heavy
    lower = np.linalg.cholesky(gram + 1e-6 * len(b) * np.eye(count))
    mix, _ = nnls(lower.T, np.linalg.solve(lower, right))
    return tuple(float(m) for m in mix / mix.sum())


def covering_factor(errors: Float, scales: Float, share: float = SHARE) -> float:
    """Return the factor by which ``scales`` cover ``share`` of the absolute ``errors``; arrays of equal size."""
    return float(np.quantile(np.abs(errors).ravel() / np.maximum(scales.ravel(), 1e-6), share))


def calibrate(samples: Sequence[Sample], mix: Sequence[float], share: float = SHARE) -> float:
    """Return the factor by which the predicted scales cover ``share`` of the mix's errors on ``samples``."""
    errors = [s.scored(s.truth - mixed(s.guesses, mix)).ravel() for s in samples]
    return covering_factor(np.concatenate(errors), np.concatenate([s.scored(s.scale).ravel() for s in samples]), share)


def alone(samples: Sequence[Sample], share: float = SHARE) -> float:
    """Return what holds ``share`` of the absolute differences between hidden sections and single neighbours."""
    apart = [s.scored(s.truth - near).ravel() for s in samples for near in (s.below, s.above)]
    return float(np.quantile(np.abs(np.concatenate(apart)), share))


def others(samples: Sequence[Sample], k: int) -> list[Sample]:
    """Return the samples next to one in the list; itself when it is the only one."""
    return [samples[j] for j in (k - 1, k + 1) if 0 <= j < len(samples)] or [samples[k]]


def cross_fitted(samples: Sequence[Sample]) -> list[Calibration]:
    """Return for every sample what the self-check would have found for it from the others."""
    found = []
    for k in range(len(samples)):
        rest = others(samples, k)
        # A single section cannot tell a good mix from an accident of its own.
        mix = fit_mix(rest) if len(samples) > 1 else (1.0,)
        found.append(Calibration(factor=calibrate(rest, mix), mix=mix))
    return found


def check(samples: Sequence[Sample]) -> SelfCheck:
    """Score hidden sections, and calibrate the repair on all of them; ``samples`` holds at least one."""
    fits = cross_fitted(samples)
    psnr, candidates = beside(
        ({"psnr": mixed(s.guesses, fit.mix), **s.baselines()}, s.known_truth, s.peak)
        for s, fit in zip(samples, fits, strict=True)
    )
    mix = fit_mix(samples) if len(samples) > 1 else (1.0,)
    # The factor comes from errors that the fit of the mix did not make smaller.
    factor = float(np.mean([fit.factor for fit in fits]))
    calibration = Calibration(factor=factor, mix=mix, alone=alone(samples))
    return SelfCheck(psnr=psnr, candidates=candidates, n=len(samples), calibration=calibration)
