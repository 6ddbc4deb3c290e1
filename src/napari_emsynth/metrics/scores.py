"""The figures by which sections are judged, and the table that collects them.

PSNR and SSIM at full resolution reward blur on noisy data, so PSNR is also given after binning to twice and four times
the pixel size, and ``mid_band`` is the power between 0.1 and 0.3 cycles/px relative to the real section (1 = as sharp).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_emsynth.metrics.image import psnr, psnr_binned, ssim
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.volume import Array, Float

METRICS = ("psnr", "ssim", "mid_band", "psnr_bin2", "psnr_bin4")


def score(answer: Float, truth: Float, peak: float) -> dict[str, float]:
    """Return the metrics of one section; answer and truth [y, x], ``peak`` in their units."""
    scaled = 255.0 / peak
    a, b = answer * scaled, truth * scaled
    binned = {f"psnr_bin{f}": psnr_binned(a, b, f) if min(a.shape) >= f else np.nan for f in (2, 4)}
    values = {"psnr": psnr(a, b), "ssim": ssim(a, b), "mid_band": mid_band_ratio(a, b), **binned}
    return {name: min(float(value), 99.0) for name, value in values.items()}


@dataclass
class Table:
    """Collects scores a method and floor."""

    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, answers: Mapping[str, Array], truth: Array, peak: float) -> None:
        """Score what was answered of one hidden section, by name; answers and truth [y, x], ``peak`` in their units."""
        true = truth.astype(np.float32)
        for name, answer in answers.items():
            self.rows.setdefault(name, []).append(score(answer.astype(np.float32), true, peak))

    def means(self) -> dict[str, dict[str, float]]:
        """Return the mean of each metric, rounded for reading."""
        return {
            name: {m: round(float(np.mean([s[m] for s in scores])), 4) for m in METRICS}
            for name, scores in self.rows.items()
        }
