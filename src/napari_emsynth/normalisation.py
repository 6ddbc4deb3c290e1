"""Invertible intensity normalisation: zero mean, unit standard deviation, float32.

Laws: ``inverse(forward(a)) == a`` exactly for integer sources up to 16 bits; ``inverse`` rounds and clips to the
source's dtype; statistics ignore what is empty, NaN, and the outer percentiles, so that margins, dirt and charging do
not move them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.volume import Array, Float, Volume

# Robust statistics use the values between these percentiles of a section.
PERCENTILES = (0.5, 99.5)
# At most this many pixels of a section are looked at (a regular subset): 0.1 % accuracy of the mean is plenty.
SAMPLE_PIXELS = 1 << 18


def robust_mean_std(section: Array, empty: Array | None = None) -> tuple[float, float]:
    """Return mean and standard deviation of the central 99 % of finite values.

    Args:
        section: [...] any real dtype. The standard deviation of a constant (or empty) one is returned as 1.
        empty: [...] True where nothing was acquired; None where everything was.
    """
    step = max(1, int(np.ceil(np.sqrt(section.size / SAMPLE_PIXELS))))
    values = (
        section[..., ::step, ::step] if empty is None else section[..., ::step, ::step][~empty[..., ::step, ::step]]
    )
    values = values.ravel().astype(np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, PERCENTILES)
    core = values[(values >= low) & (values <= high)]
    std = float(core.std())
    return float(core.mean()), std if std > 1e-6 * max(1.0, abs(float(core.mean()))) else 1.0


def to_dtype(values: Float, dtype: np.dtype[Any]) -> Array:
    """Round and clip float values to ``dtype`` (floats pass through)."""
    if dtype.kind == "f":
        return values.astype(dtype)
    if dtype.kind == "b":
        return values > 0.5
    info = np.iinfo(dtype)
    # The largest integers of 64 bits have no float of their own, and the next one above would wrap around.
    most = float(info.max) if float(info.max) <= info.max else np.nextafter(float(info.max), 0)
    return np.clip(np.rint(values.astype(np.float64)), info.min, most).astype(dtype)


@dataclass(frozen=True)
class Normalisation:
    """One affine map of intensities.

    Args:
        mean: in source intensity units.
        std: in source intensity units, positive.
        dtype: the source's dtype, to which :meth:`inverse` returns.
    """

    mean: float
    std: float
    dtype: np.dtype[Any]

    @classmethod
    def of_section(cls, section: Array, empty: Array | None = None) -> Normalisation:
        """Measure one section [y, x]; ``empty``: [y, x] True where nothing was acquired."""
        mean, std = robust_mean_std(section, empty)
        return cls(mean, std, section.dtype)

    @classmethod
    def of(cls, volume: Volume, sections: Iterable[int] | None = None) -> Normalisation:
        """Measure a whole volume, one section at a time: the mean of section means and of section variances."""
        stats = [robust_mean_std(volume.section(z)) for z in (range(volume.shape[0]) if sections is None else sections)]
        means, stds = np.array(stats).T
        return cls(float(means.mean()), float(np.sqrt((stds**2).mean() + means.var())), volume.dtype)

    @classmethod
    def between(cls, below: Normalisation, above: Normalisation, t: float) -> Normalisation:
        """Interpolate two sections' statistics at ``t`` in [0, 1] (0 = below)."""
        return cls((1 - t) * below.mean + t * above.mean, (1 - t) * below.std + t * above.std, below.dtype)

    def forward(self, array: Array) -> Float:
        """Return float32 values of about zero mean and unit deviation; NaN and infinities become 0 (the mean)."""
        out = (array.astype(np.float64) - self.mean) / self.std
        return np.where(np.isfinite(out), out, 0.0).astype(np.float32)

    def inverse(self, array: Float) -> Array:
        """Return intensities in the source's units and dtype, rounded and clipped."""
        return to_dtype((array.astype(np.float64) * self.std + self.mean).astype(np.float64), self.dtype)
