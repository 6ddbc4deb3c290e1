"""What recipes share when they judge a network on held-out blocks.

Blocks are [z, y, x]; crops are float32 in the block's normalised units; scores are PSNR in dB on the source's 8-bit
range.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.training.samples.stacks import middle
from napari_emsynth.trust.selfcheck import LAPLACE, covering_factor, intensity_range
from napari_emsynth.volume import Array, Float


def judged(block: Array, size: tuple[int, int, int], view: Array | None = None) -> tuple[Float, float]:
    """Return the middle of a held-out block, normalised, and the source's 8-bit range in its units.

    Args:
        block: [z, y, x] as acquired.
        size: largest (z, y, x) of the middle.
        view: the block with its axes in another order, of which the middle is taken; None for the block.
    """
    mean, std = robust_mean_std(block)
    crop = middle(block if view is None else view, size).astype(np.float32)
    return (crop - np.float32(mean)) / np.float32(std), intensity_range(block[0]) / std


def covering(answers: Iterable[tuple[Float, Float]]) -> float:
    """Return by what scales are multiplied to cover 90 % of the errors; a Laplace law's factor without any answer.

    Args:
        answers: errors and their scales, arrays of equal size.
    """
    pairs = list(answers)
    if not pairs:
        return LAPLACE
    errors, scales = (np.concatenate([values.ravel() for values in kind]) for kind in zip(*pairs, strict=True))
    return covering_factor(errors, scales)


def usual_band(bands: Sequence[float]) -> float:
    """Return the geometric mean of mid-band ratios, those that cannot be told left out; 0 without any."""
    known = [b for b in bands if math.isfinite(b) and b > 0]
    return float(np.exp(np.mean(np.log(known)))) if known else 0.0


def natural_gain(
    ours: Sequence[float], baseline: Sequence[float], bands: Sequence[float], *, worth_db: float, called: str
) -> dict[str, float]:
    """Return what redrawn stacks are judged by: dB gained, less a penalty for reslices as sharp as no true ones.

    Args:
        ours: PSNR of each answer.
        baseline: of what needs no network.
        bands: mid-band power of each answer's reslices over that of the true ones.
        worth_db: of a factor e in mid-band power.
        called: the floor's name among the figures.
    """
    gain = float(np.mean(ours) - np.mean(baseline))
    band = float(np.exp(np.mean(np.log(np.maximum(bands, 1e-3)))))
    figures = {"psnr": float(np.mean(ours)), called: float(np.mean(baseline)), "mid_band": band}
    return figures | {"score": gain - worth_db * abs(float(np.log(band)))}
