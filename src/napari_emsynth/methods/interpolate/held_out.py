"""Judging an interpolation network while it trains: held-out sections, posed as missing.

Conventions: images are [y, x] float32 in the block's normalised units; scores are PSNR in dB on the source's 8-bit
range, by distance to each neighbour in sections.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Float

GAPS = (1, 2, 3, 4)
# Cases a block and gap, and the edge of their crops in px.
LIMIT, EDGE = 5, 256
# Worth of sharpness while an adversary trains: dB of PSNR for a factor e in mid-band power.
NATURALNESS_DB = 4.0


@dataclass(frozen=True)
class HeldOut:
    """One section and its neighbours ``gap`` sections away.

    Args:
        below: [y, x] normalised; sizes are multiples of 16 px.
        truth: [y, x] normalised.
        above: [y, x] normalised.
        peak: the source's intensity range in normalised units.
        gap: sections.
    """

    below: Float
    truth: Float
    above: Float
    peak: float
    gap: int


def held_out_cases(blocks: Sequence[Array], gap: int) -> list[HeldOut]:
    """Return up to :data:`LIMIT` cases a block, crops of at most :data:`EDGE` px at its lower right."""
    cases = []
    for block in blocks:
        if block.shape[0] <= 2 * gap:
            continue
        mean, std = robust_mean_std(block)
        window = tuple(slice(n - min(EDGE, n) // 16 * 16, n) for n in block.shape[1:])
        for k in np.unique(np.linspace(gap, block.shape[0] - 1 - gap, LIMIT).round().astype(int)):
            below, truth, above = (
                ((block[(j, *window)].astype(np.float32) - mean) / std) for j in (k - gap, k, k + gap)
            )
            cases.append(HeldOut(below, truth, above, intensity_range(block[(k, *window)]) / std, gap))
    return cases


def held_out_scores(blocks: Sequence[Array], answer: Callable[[HeldOut], Float]) -> dict[str, float]:
    """Score answers beside linear interpolation.

    Args:
        blocks: held-out blocks [z, y, x].
        answer: returns the section [y, x] that was posed as missing.

    Returns:
        ``psnr_<gap>`` and ``linear_<gap>`` in dB, ``mid_band`` (power between 0.1 and 0.3 cycles/px over the true
        section's, geometric mean), and ``score``: the mean gain over linear in dB over the gaps; 0 without any case.
    """
    scores: dict[str, float] = {}
    gains, bands = [], []
    for gap in GAPS:
        ours, floor = [], []
        for case in held_out_cases(blocks, gap):
            drawn = answer(case)
            ours.append(psnr(drawn, case.truth, case.peak))
            floor.append(psnr(0.5 * (case.below + case.above), case.truth, case.peak))
            bands.append(mid_band_ratio(drawn, case.truth))
        if ours:
            scores[f"psnr_{gap}"] = float(np.mean(ours))
            scores[f"linear_{gap}"] = float(np.mean(floor))
            gains.append(scores[f"psnr_{gap}"] - scores[f"linear_{gap}"])
    known = [b for b in bands if math.isfinite(b) and b > 0]
    scores["mid_band"] = float(np.exp(np.mean(np.log(known)))) if known else 0.0
    scores["score"] = float(np.mean(gains)) if gains else 0.0
    return scores


def naturalness(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores with ``score`` judging sharpness too: :data:`NATURALNESS_DB` dB off for a factor e."""
    away = abs(math.log(scores["mid_band"])) if scores["mid_band"] > 0 else 10.0
    return scores | {"score": scores["score"] - NATURALNESS_DB * away}
