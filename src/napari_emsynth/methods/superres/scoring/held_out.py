"""Judging a super-resolution network while it trains: held-out sections, reduced.

Conventions: images are [y, x] float32 in the normalised units of the reduced block; scores are PSNR in dB on the
source's 8-bit range, beside bicubic enlargement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.nn.lateral import enlarged, reduced
from napari_emsynth.training.judging import covering, usual_band
from napari_emsynth.training.samples.reductions import reduced_mean_std
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Float

# Cases a block, and the edge of their crops in px of the fine sections.
LIMIT, EDGE = 6, 384
# Low-resolution sizes are multiples of this: pyramids halve them twice.
MULTIPLE = 4


@dataclass(frozen=True)
class HeldOut:
    """One section and its reduced neighbours.

    Args:
        low: [n, y, x] normalised; the volume's last section stands for those beyond it.
        truth: [f y, f x] normalised.
        peak: the source's intensity range in normalised units.
    """

    low: Float
    truth: Float
    peak: float


def held_out_cases(blocks: Sequence[Array], factor: int, sections: int = 5) -> list[HeldOut]:
    """Return up to :data:`LIMIT` cases a block, crops of at most :data:`EDGE` px at its lower right.

    Blocks whose sections are smaller than :data:`MULTIPLE` low-resolution px have none.
    """
    cases = []
    step = MULTIPLE * factor
    for block in blocks:
        edges = [min(EDGE, n) // step * step for n in block.shape[1:]]
        if min(edges) == 0:
            continue
        mean, std = reduced_mean_std(block, factor)
        window = tuple(slice(n - edge, n) for n, edge in zip(block.shape[1:], edges, strict=True))
        for z in np.unique(np.linspace(0, len(block) - 1, LIMIT + 2).round().astype(int)[1:-1]):
            seen = np.clip(z + np.arange(sections) - sections // 2, 0, len(block) - 1)
            fine = (block[(seen, *window)].astype(np.float32) - np.float32(mean)) / np.float32(std)
            low = reduced(torch.from_numpy(fine)[None], factor)[0].numpy()
            peak = intensity_range(block[(z, *window)]) / std
            cases.append(HeldOut(low, fine[sections // 2], peak))
    return cases


def held_out_scores(cases: Sequence[HeldOut], factor: int, answer: Callable[[HeldOut], Float]) -> dict[str, float]:
    """Score answers beside bicubic enlargement.

    Args:
        cases: of :func:`held_out_cases`.
        factor: of super-resolution.
        answer: returns the fine section [f y, f x].

    Returns:
        ``psnr`` and ``bicubic`` in dB; ``mid_band`` (power between 0.1 and 0.3 cycles/px over the true section's,
        geometric mean); ``residual`` (root mean square of the reduced answer against what was acquired, in its
        deviations: the answer's consistency); and ``score``, the gain over bicubic in dB. 0 without any case.
    """
    ours, baseline, bands, residuals = [], [], [], []
    for case in cases:
        drawn = answer(case)
        middle = torch.from_numpy(case.low[len(case.low) // 2])[None, None]
        ours.append(psnr(drawn, case.truth, case.peak))
        baseline.append(psnr(enlarged(middle, factor)[0, 0].numpy(), case.truth, case.peak))
        bands.append(mid_band_ratio(drawn, case.truth))
        away = reduced(torch.from_numpy(drawn)[None, None], factor) - middle
        residuals.append(float(away.square().mean()))
    if not ours:
        return {"psnr": 0.0, "bicubic": 0.0, "mid_band": 0.0, "residual": 0.0, "score": 0.0}
    return {
        "psnr": float(np.mean(ours)),
        "bicubic": float(np.mean(baseline)),
        "mid_band": usual_band(bands),
        "residual": math.sqrt(float(np.mean(residuals))),
        "score": float(np.mean(ours) - np.mean(baseline)),
    }


def covered(cases: Sequence[HeldOut], answer: Callable[[HeldOut], Sequence[Float]]) -> float:
    """Return by what the scales of errors are multiplied to cover 90 % of them.

    Args:
        cases: of :func:`held_out_cases`.
        answer: returns the fine section and the log of its error's scale, both [f y, f x].

    Returns:
        The factor; a Laplace law's without any case.
    """

    def pairs() -> Iterator[tuple[Float, Float]]:
        for case in cases:
            mean, log_scale = answer(case)
            yield mean - case.truth, np.exp(log_scale)

    return covering(pairs())


def answered(network: nn.Module, case: HeldOut, device: torch.device) -> tuple[Float, ...]:
    """Run a network on a case; every [1, 1, f y, f x] tensor of its answer as [f y, f x]."""
    low = torch.from_numpy(case.low)[None].to(device)
    with torch.inference_mode():
        answer = network(low)
    images = (answer,) if isinstance(answer, Tensor) else tuple(answer)
    return tuple(np.asarray(image[0, 0].float().cpu().numpy()) for image in images)
