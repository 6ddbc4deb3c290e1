"""The self-check: before a repair is trusted it is repeated where the truth is known.

A section that is intact, with intact neighbours at the same distances, is hidden, synthesised, and compared with the
truth, beside three floors. The same samples calibrate the error estimate: the factor that makes the predicted scales
cover 90 % of the errors there is the one used for the repair (split conformal prediction; Vovk 2005, Papadopoulos
2002).

Conventions: everything is in normalised units of the hidden section; ``peak`` is the source's 8-bit range in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_emsynth.metrics.image import psnr
from napari_emsynth.volume import Array, Float

# The stated interval holds this share of the errors.
SHARE = 0.9
# Blur of the third floor: on noisy sections it wins PSNR.
BLUR_PX = 1.0


def floors(below: Float, above: Float, t: float) -> dict[str, Float]:
    """Return what needs no model: nearest, linear and blurred linear, each [y, x]."""
    linear = (1 - t) * below + t * above
    return {
        "nearest": below if t <= 0.5 else above,
        "linear": linear,
        "blurred_linear": np.asarray(gaussian_filter(linear, BLUR_PX), dtype=np.float32),
    }


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
        mean: [y, x] the synthesis.
        scale: [y, x] its predicted scale.
        below: [y, x] the neighbour below.
        above: [y, x] the neighbour above.
        t: position between them.
        peak: the source's 8-bit range, in the same units.
    """

    truth: Float
    mean: Float
    scale: Float
    below: Float
    above: Float
    t: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """PSNR in dB of the method and the floors on ``n`` hidden sections.

    Args:
        psnr: of the method.
        nearest: of copying the nearer neighbour.
        linear: of mixing both.
        blurred_linear: of mixing both and smoothing.
        n: hidden sections.
        factor: from predicted scale to the half width of the 90 % interval.
    """

    psnr: float
    nearest: float
    linear: float
    blurred_linear: float
    n: int
    factor: float

    @property
    def beats_floors(self) -> bool:
        """True when the method is at least as good as every floor."""
        return self.psnr >= max(self.nearest, self.linear, self.blurred_linear)

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        return {k: round(v, 4) for k, v in asdict(self).items()} | {
            "n": self.n,
            "beats_floors": self.beats_floors,
        }


def calibrate(samples: Sequence[Sample], share: float = SHARE) -> float:
    """Return the factor by which the predicted scales cover ``share`` of the errors of ``samples``."""
    ratios = [np.abs(s.truth - s.mean).ravel() / np.maximum(s.scale.ravel(), 1e-6) for s in samples]
    return float(np.quantile(np.concatenate(ratios), share))


def check(samples: Sequence[Sample]) -> SelfCheck:
    """Score hidden sections; ``samples`` holds at least one."""
    scores: dict[str, list[float]] = {}
    for s in samples:
        answers = {"psnr": s.mean, **floors(s.below, s.above, s.t)}
        for name, answer in answers.items():
            # A perfect answer (a constant volume) is reported as 99 dB: infinity is no JSON number.
            scores.setdefault(name, []).append(min(psnr(answer, s.truth, s.peak), 99.0))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    return SelfCheck(
        psnr=means["psnr"],
        nearest=means["nearest"],
        linear=means["linear"],
        blurred_linear=means["blurred_linear"],
        n=len(samples),
        factor=calibrate(samples),
    )
