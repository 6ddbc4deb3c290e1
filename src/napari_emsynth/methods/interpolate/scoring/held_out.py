"""Judging an interpolation network while it trains: held-out sections, posed as missing.

Conventions: images are [y, x] float32, each section normalised by its own robust statistics; scores are PSNR in dB on
the source's 8-bit range. Law: the fitted filter that serves as base is fitted on what is learned from, never on what is
held out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.models.fitted_filter import (
    Equations,
    Offsets,
    apply,
    best_ridge,
    equations,
    linear_taps,
    sides,
    solve,
    taps_of,
)
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.judging import usual_band
from napari_emsynth.training.samples.pairs import SectionStack
from napari_emsynth.trust.selfcheck import intensity_range
from napari_emsynth.volume import Array, Float

GAPS = (1, 2, 3, 4)
# A stack that lacks nothing, posed as coarser; a run that is missing, its middle section scored.
POSED: dict[str, Offsets] = {f"{g}": (-2 * g, -g, g, 2 * g) for g in GAPS}
RUNS: dict[str, Offsets] = {f"run_{2 * g - 1}": (-g - 1, -g, g, g + 1) for g in GAPS[1:]}
# Cases a block and setting, and the edge of their crops in px.
LIMIT, EDGE = 5, 256
# Places the base is fitted on, and every how many px.
PLACES, FIT_STEP = 8, 2
Window = tuple[slice, slice]

# Worth of sharpness while an adversary trains: dB of PSNR for a factor e in mid-band power.
NATURALNESS_DB = 4.0


@dataclass(frozen=True)
class HeldOut:
    """One section and what is known around it.

    Args:
        offsets: of the known sections.
        known: [s, y, x] normalised; sizes are multiples of 16 px.
        truth: [y, x] in the units that are expected between its neighbours.
        base: [y, x] answer of the fitted filter.
        error: root mean square error of the base where it was fitted.
        peak: the source's intensity range in normalised units.
    """

    offsets: Offsets
    known: Float
    truth: Float
    base: Float
    error: float
    peak: float

    @property
    def below(self) -> Float:
        """The nearest section below."""
        return np.asarray(self.known[self.offsets.index(sides(self.offsets)[0][0])])

    @property
    def above(self) -> Float:
        """The nearest section above."""
        return np.asarray(self.known[self.offsets.index(sides(self.offsets)[1][0])])

    @property
    def linear(self) -> Float:
        """Linear interpolation of the nearest sections."""
        return apply(linear_taps(self.offsets), self.known)


def _normalised(block: Array, z: int, window: Window) -> tuple[Float, float, float]:
    mean, std = robust_mean_std(block[z])
    section = (block[z][window].astype(np.float32) - np.float32(mean)) / np.float32(std)
    return np.asarray(section, dtype=np.float32), mean, std


def _window(block: Array) -> Window:
    y, x = (slice(n - min(EDGE, n) // 16 * 16, n) for n in block.shape[1:])
    return y, x


def _spread(block: Array, offsets: Offsets, count: int) -> list[int]:
    """Return sections that have all of their neighbours, spread over the block."""
    first, last = max(0, -min(offsets)), block.shape[0] - 1 - max(0, *offsets)
    return [] if last < first else [int(k) for k in np.unique(np.linspace(first, last, count).round())]


def fitted(stacks: Sequence[SectionStack], offsets: Offsets) -> tuple[Float, float]:
    """Fit one filter on stacks: taps [s, k, k], and its root mean square error on places left out."""
    places = []
    for stack in stacks:
        window = _window(stack.data)
        for k in _spread(stack.data, offsets, PLACES):
            known = np.stack([stack.crop(k + o, *window) for o in offsets])
            places.append(equations(known, stack.crop(k, *window), FIT_STEP))
    if not places:
        return linear_taps(offsets), 1.0
    ridge, error = best_ridge(places, offsets)
    return taps_of(solve(reduce(Equations.__add__, places), offsets, ridge)), math.sqrt(error)


def held_out_cases(block: Array, learned: Array, offsets: Offsets) -> list[HeldOut]:
    """Return up to :data:`LIMIT` cases of a held-out block, crops of at most :data:`EDGE` px at its lower right.

    Args:
        block: [z, y, x] held out.
        learned: [z, y, x] of the same volume, learned from: the base is fitted there.
        offsets: of the known sections.
    """
    chosen = _spread(block, offsets, LIMIT)
    if not chosen:
        return []
    taps, error = fitted([SectionStack(learned)], offsets)
    window = _window(block)
    below, above = (side[0] for side in sides(offsets))
    t = -below / (above - below)
    cases = []
    for k in chosen:
        drawn = {o: _normalised(block, k + o, window) for o in offsets}
        mean = (1 - t) * drawn[below][1] + t * drawn[above][1]
        std = (1 - t) * drawn[below][2] + t * drawn[above][2]
        truth = (block[k][window].astype(np.float32) - np.float32(mean)) / np.float32(std)
        known = np.stack([drawn[o][0] for o in offsets])
        peak = intensity_range(block[k][window]) / std
        cases.append(HeldOut(offsets, known, truth, apply(taps, known), error, peak))
    return cases


class Judge:
    """Scores answers beside linear interpolation and the fitted filter; the cases are prepared once.

    Args:
        data: whose held-out blocks are scored.
        settings: at which offsets sections are known, by name.
    """

    def __init__(self, data: TrainingData, settings: Mapping[str, Offsets] = POSED) -> None:
        self._data, self._settings = data, settings
        self._cases: dict[str, list[HeldOut]] = {}

    def cases(self, name: str) -> list[HeldOut]:
        """Return the cases of one setting, of every held-out block."""
        if name not in self._cases:
            self._cases[name] = [
                case
                for block, learned in self._data.judged()
                for case in held_out_cases(block, learned, self._settings[name])
            ]
        return self._cases[name]

    def all_cases(self) -> list[HeldOut]:
        """Return the cases of every setting."""
        return [case for name in self._settings for case in self.cases(name)]

    def scores(self, answer: Callable[[HeldOut], Float]) -> dict[str, float]:
        """Score ``answer``, which returns the section [y, x] that was posed as missing.

        Returns:
            ``psnr_<name>``, ``linear_<name>`` and ``fitted_<name>`` in dB, ``mid_band`` (power between 0.1 and 0.3
            cycles/px over the true section's, geometric mean), and ``score``: the mean gain over linear in dB over the
            settings; 0 without any case.
        """
        scores: dict[str, float] = {}
        gains, bands = [], []
        for name in self._settings:
            cases = self.cases(name)
            if not cases:
                continue
            answers = [answer(case) for case in cases]
            bands += [mid_band_ratio(drawn, case.truth) for drawn, case in zip(answers, cases, strict=True)]
            candidates = {
                "psnr": answers,
                "linear": [case.linear for case in cases],
                "fitted": [case.base for case in cases],
            }
            for candidate, drawn in candidates.items():
                values = [psnr(d, case.truth, case.peak) for d, case in zip(drawn, cases, strict=True)]
                scores[f"{candidate}_{name}"] = float(np.mean(values))
            gains.append(scores[f"psnr_{name}"] - scores[f"linear_{name}"])
        scores["mid_band"] = usual_band(bands)
        scores["score"] = float(np.mean(gains)) if gains else 0.0
        return scores


def naturalness(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores with ``score`` judging sharpness too: :data:`NATURALNESS_DB` dB off for a factor e."""
    away = abs(math.log(scores["mid_band"])) if scores["mid_band"] > 0 else 10.0
    return scores | {"score": scores["score"] - NATURALNESS_DB * away}
