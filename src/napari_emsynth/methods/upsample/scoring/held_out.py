"""Judging the networks of ``upsample/emsynth`` while they train: held-out blocks, made coarser and drawn again.

Arrays are [section, y, x] float32 in the block's normalised units; scores are PSNR in dB on the source's 8-bit range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from napari_emsynth.methods.upsample.acquisition import back_projected, degraded, shares, steps
from napari_emsynth.methods.upsample.emsynth.reslice import acquired_rows, stretched
from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.methods.upsample.likeness import Likeness
from napari_emsynth.metrics.image import psnr
from napari_emsynth.models.kriging import Correlation
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import covering, judged
from napari_emsynth.volume import Array, Float

# Factor and sampling, on the middle of held-out blocks of at most this size.
CASES: tuple[tuple[int, Sampling], ...] = ((2, "point"), (4, "point"), (4, "slab"), (8, "slab"))
TEST_SIZE = (96, 96, 96)


@dataclass(frozen=True)
class Case:
    """A held-out block made coarser.

    Args:
        thick: [m, y, x] acquired, normalised.
        truth: [n, y, x].
        start: [n, y, x] the stretched block.
        factor: fine sections a section.
        sampling: how it was acquired.
        peak: the source's intensity range in normalised units.
        sides: whether the planes' neighbours are as near as their rows.
        likeness: how alike the thick sections' pixels are; of rows that pose as sections, those of the fine planes.
    """

    thick: Float
    truth: Float
    start: Float
    factor: int
    sampling: Sampling
    peak: float
    sides: bool
    likeness: Likeness

    @property
    def hidden(self) -> Array:
        """[n] True where a section was not acquired."""
        return ~acquired_rows(self.factor, self.sampling, range(len(self.truth)))

    def consistent(self, mean: Float) -> Float:
        """Return an answer [n, y, x] moved to where slab means hold."""
        if self.sampling == "point":
            return mean
        matrix = shares(self.factor, range(len(self.truth)), range(len(self.thick)))
        return back_projected(mean, self.thick, matrix, count=steps(self.factor))


def held_out(data: TrainingData, factor: int, sampling: Sampling) -> list[Case]:
    """Return the middles of the held-out blocks, made coarser along z; along y where only xy planes are fine."""
    cases = []
    sides = len(data.axes) == 3
    for block in data.held_out:
        fine, peak = judged(block, TEST_SIZE, None if sides else block.swapaxes(0, 1))
        used = len(fine) // factor * factor if sampling == "slab" else (len(fine) - 1) // factor * factor + 1
        if used < 2 * factor:
            continue
        truth = fine[:used]
        thick = degraded(truth, factor, sampling)
        start = stretched(thick, factor, sampling, range(used))
        cases.append(Case(thick, truth, start, factor, sampling, peak, sides, _likeness(thick, fine, sampling, sides)))
    return cases


def _likeness(thick: Float, fine: Float, sampling: Sampling, sides: bool) -> Likeness:
    if sides:
        return Likeness.of_pairs(Correlation.measured(list(thick)), list(pairwise(thick)), sampling)
    return Likeness(Correlation.measured(list(fine.swapaxes(0, 1))))


Answer = Callable[[Case], tuple[Float, Float]]


def held_out_scores(data: TrainingData, answer: Answer) -> dict[str, float]:
    """Score answers beside the stretched volume that networks start from.

    Args:
        data: with held-out blocks.
        answer: returns mean and Laplace scale [n, y, x] of a case, before back-projection.

    Returns:
        ``psnr_<sampling>_<factor>`` and ``cubic_...`` in dB for every case of :data:`CASES`, and ``score``, the mean
        gain; 0 without any case.
    """
    scores: dict[str, float] = {}
    gains = []
    for factor, sampling in CASES:
        ours, baseline = [], []
        for case in held_out(data, factor, sampling):
            drawn = case.consistent(answer(case)[0])
            ours.append(psnr(drawn[case.hidden], case.truth[case.hidden], case.peak))
            baseline.append(psnr(case.start[case.hidden], case.truth[case.hidden], case.peak))
        if ours:
            name = f"{sampling}_{factor}"
            scores[f"psnr_{name}"], scores[f"cubic_{name}"] = float(np.mean(ours)), float(np.mean(baseline))
            gains.append(scores[f"psnr_{name}"] - scores[f"cubic_{name}"])
    return scores | {"score": float(np.mean(gains)) if gains else 0.0}


def held_out_factor(data: TrainingData, answer: Answer) -> float:
    """Return by what scales are multiplied to cover 90 % of the errors of held-out blocks; ln 10 without any."""

    def pairs() -> Iterator[tuple[Float, Float]]:
        for factor, sampling in CASES:
            for case in held_out(data, factor, sampling):
                mean, scale = answer(case)
                yield (case.consistent(mean) - case.truth)[case.hidden], scale[case.hidden]

    return covering(pairs())
