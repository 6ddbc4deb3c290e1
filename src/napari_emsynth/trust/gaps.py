"""Where sections are lost between two that are there, and where brightness or contrast jumps: no damage, but news.

Conventions: a gap lies before a section. It is told by how much neighbours correlate, high-passed and lying on each
other: where sections are lost, the two on either side correlate as sections further apart do elsewhere nearby.

Laws: a gap shows in every pair across it and in none beside it, or it is none: a single damaged section spoils pairs on
both of its sides; limits are set by the neighbours' median and scatter, and nothing is told of the ends of a stack.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.trust.features import Features

# Neighbours looked at on each side, and how many of them at least.
SIDE, LEAST = 8, 4
# Limits are at least this many deviations from the neighbours' median.
DEVIATIONS = 5.0
# Beyond one lost section by this much, it is two.
HALF = 0.5
# Correlations below this are all the same: nothing.
LEAST_CORRELATION = 0.02
# Brightness, in deviations of a section's intensities, and contrast, as a factor, that strike the eye.
BRIGHTNESS, CONTRAST = 0.5, 1.5


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Sections that seem to be lost.

    Args:
        before: the section before which they are.
        sections: about how many; two stand for two or more.
        score: 0.5 at the limit, towards 1 beyond any doubt.
        detail: one line with the figures that decided.
    """

    before: int
    sections: int
    score: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A section that is brighter, darker, flatter or harsher than its neighbours, which does not make it damaged.

    Args:
        section: 0-based index.
        kind: of what jumps.
        score: 0.5 at the limit, towards 1 beyond any doubt.
        detail: one line with the figure that decided.
    """

    section: int
    kind: Literal["brightness", "contrast"]
    score: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def gaps(features: Sequence[Features], unfit: Collection[int] = ()) -> list[Gap]:
    """Return where sections seem to be lost.

    Args:
        features: of adjacent sections, in order.
        unfit: damaged sections, whose pairs tell nothing.
    """
    loss = losses(features, unfit)
    found = []
    for at in range(2, len(features) - 1):
        gap = _gap(loss, at, features[at].section)
        if gap is not None:
            found.append(gap)
    return found


def deviation(values: NDArray[np.float64]) -> float:
    """Return how far values scatter: 1.48 times the median of their distances from the median, a normal one's sigma."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def losses(features: Sequence[Features], unfit: Collection[int] = ()) -> NDArray[np.float64]:
    """Return -log correlation of each section with that 1, 2, 3 before it, [section, step]; NaN where unknown.

    Args:
        features: of adjacent sections, in order.
        unfit: damaged sections, whose pairs tell nothing.
    """
    loss = np.full((len(features), 4), np.nan)
    for at, own in enumerate(features):
        for match in own.matches[:at]:
            if own.section not in unfit and own.section - match.step not in unfit and not match.inverted:
                loss[at, match.step] = -math.log(max(LEAST_CORRELATION, match.correlation))
    return loss


def nearby(loss: NDArray[np.float64], at: int, step: int) -> NDArray[np.float64]:
    """Return what is known of pairs ``step`` apart near a section, none of them across its lower face."""
    rows = range(max(step, at - SIDE), min(len(loss), at + SIDE + 1))
    values = np.array([loss[z, step] for z in rows if not at <= z < at + step])
    known: NDArray[np.float64] = values[np.isfinite(values)]
    return known


def _gap(loss: NDArray[np.float64], at: int, section: int) -> Gap | None:
    one, two, three = (nearby(loss, at, step) for step in (1, 2, 3))
    if min(one.size, two.size, three.size) < LEAST or not np.isfinite(loss[at, 1]):
        return None
    usual, next_but_one, third = (float(np.median(values)) for values in (one, two, three))
    limit = max((usual + next_but_one) / 2, usual + DEVIATIONS * deviation(one))
    here, across = loss[at, 1], [loss[at, 2], loss[at + 1, 2]]
    beside = [loss[at - 1, 1], loss[at + 1, 1]]
    if not here > limit or not all(pair > (next_but_one + third) / 2 for pair in across):
        return None
    if not all(pair < (usual + next_but_one) / 2 for pair in beside):
        return None
    # Each pair across the gap lies as far apart as pairs elsewhere that are further apart by what is lost.
    more = np.mean([here - next_but_one, *(pair - third for pair in across)]) / max(third - next_but_one, 1e-6)
    lost = 1 if more < HALF else 2
    correlations = [math.exp(-value) for value in (here, usual, next_but_one, third)]
    strength = (here - usual) / (limit - usual)
    words = "it correlates with the section before by {:.2f}; neighbours by {:.2f}, {:.2f}, {:.2f} at 1, 2, 3 sections"
    return Gap(before=section, sections=lost, score=1 - 0.5 / strength, detail=words.format(*correlations))


def jumps(features: Sequence[Features], unfit: Collection[int] = ()) -> list[Jump]:
    """Return sections whose brightness or contrast differs from that of their neighbours, one entry a section.

    Args:
        features: of adjacent sections, in order.
        unfit: damaged sections.
    """
    usable = [f for f in features if f.section not in unfit and f.spread > 0]
    found = []
    for at, own in enumerate(usable):
        near = [*usable[max(0, at - SIDE) : at], *usable[at + 1 : at + 1 + SIDE]]
        if len(near) < LEAST:
            continue
        levels, spreads = np.array([f.level for f in near]), np.log([f.spread for f in near])
        spread = float(np.exp(np.median(spreads)))
        brighter, harsher = own.level - float(np.median(levels)), math.log(own.spread / spread)
        shifts: tuple[tuple[Literal["brightness", "contrast"], float, float, str], ...] = (
            ("brightness", abs(brighter), _limit(levels, BRIGHTNESS * spread), f"{brighter:+.3g} grey levels"),
            ("contrast", abs(harsher), _limit(spreads, math.log(CONTRAST)), f"{math.exp(harsher):.0%} of the contrast"),
        )
        kind, shift, limit, words = max(shifts, key=lambda entry: entry[1] / entry[2])
        if shift > limit:
            score = 1 - 0.5 * limit / shift
            found.append(Jump(section=own.section, kind=kind, score=score, detail=f"{words} against its neighbours"))
    return found


def _limit(values: NDArray[np.float64], least: float) -> float:
    """Return how far a value may lie from the median of its neighbours."""
    return max(least, DEVIATIONS * deviation(values))
