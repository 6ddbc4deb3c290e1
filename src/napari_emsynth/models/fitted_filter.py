"""A section as one linear filter over its neighbours, fitted by least squares where the truth is known.

With sections ``s_o`` at the offsets ``o`` (negative below, positive above the wanted one), each normalised, and
patches ``P_o(p)`` of :data:`TAPS` x :data:`TAPS` px around ``p``::

    mean(p) = sum_o  w_o . P_o(p)                                              (1)
    w = argmin  sum_places sum_p |y(p) - mean(p)|^2 + ridge n |w - w_0|^2       (2)

where ``w_0`` is linear interpolation between the nearest section on each side: with too little to learn from the filter
stays there. Everything (2) needs of a place is in its normal equations, so that leaving a place out, or trying another
ridge, costs one solve and no look at a pixel.

Conventions: sections are [y, x] float32, normalised; the filter is [section, TAPS, TAPS]. Laws: equations add up; the
filter of sections that already hold the truth returns it; mirrored sections give the mirrored answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.linalg import cho_factor, cho_solve
from scipy.signal import oaconvolve

from napari_emsynth.volume import Array, Float

# Edge of the patch of a section in px; 5 lost 0.1 dB on tissue, 9 gained nothing.
TAPS = 7
REACH = TAPS // 2
# What (2) may choose from, relative to the mean square of a pixel (1 in normalised units).
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

Offsets = tuple[int, ...]
Offset = TypeVar("Offset", int, float)


@dataclass(frozen=True)
class Equations:
    """Normal equations of one place, or of several together.

    Args:
        gram: [n, n] sum over px of patches' products, n = sections * TAPS^2.
        right: [n] sum over px of patch times truth.
        power: sum over px of the truth squared.
        count: px.
    """

    gram: Array
    right: Array
    power: float
    count: int

    def __add__(self, other: Equations) -> Equations:
        """Both places together."""
        return Equations(
            self.gram + other.gram, self.right + other.right, self.power + other.power, self.count + other.count
        )

    def __sub__(self, other: Equations) -> Equations:
        """All places but one."""
        return Equations(
            self.gram - other.gram, self.right - other.right, self.power - other.power, self.count - other.count
        )

    def of(self, columns: Sequence[int]) -> Equations:
        """Those of some of the unknowns alone."""
        return Equations(self.gram[np.ix_(columns, columns)], self.right[list(columns)], self.power, self.count)

    def error(self, weights: Array) -> float:
        """Mean square error per px of a filter [n] at this place."""
        square = self.power - 2 * weights @ self.right + weights @ self.gram @ weights
        return float(max(square, 0.0)) / self.count


def equations(sections: Float, truth: Float, step: int = 1, spoilt: Array | None = None) -> Equations:
    """Collect the normal equations of one place; pixels nearer to the border than a patch reaches are left out.

    Args:
        sections: [s, y, x] normalised, at least TAPS px along y and x.
        truth: [y, x] normalised.
        step: every ``step``-th pixel along y and x is used.
        spoilt: [y, x] True where a pixel is left out; None where all count.
    """
    patches = [sliding_window_view(s, (TAPS, TAPS))[::step, ::step].reshape(-1, TAPS * TAPS) for s in sections]
    a = np.concatenate(patches, axis=1).astype(np.float32)
    inner = tuple(slice(REACH, n - REACH, step) for n in truth.shape)
    y = truth[inner].ravel()
    if spoilt is not None:
        counts = ~spoilt[inner].ravel()
        a, y = a[counts], y[counts]
    return Equations(
        (a.T @ a).astype(np.float64), (a.T @ y).astype(np.float64), float(np.square(y, dtype=np.float64).sum()), y.size
    )


def sides(offsets: Sequence[Offset]) -> tuple[tuple[Offset, ...], tuple[Offset, ...]]:
    """Return the offsets below and above, each from near to far; one of the two may be empty."""
    below = sorted((o for o in offsets if o < 0), reverse=True)
    return tuple(below), tuple(sorted(o for o in offsets if o > 0))


def near_offsets(offsets: Offsets) -> Offsets:
    """Return the offsets of the nearest section on each side."""
    below, above = sides(offsets)
    return (*below[:1], *above[:1])


def linear_taps(offsets: Offsets) -> Float:
    """Return linear interpolation between the nearest section on each side (or the nearest alone): [s, TAPS, TAPS]."""
    taps = np.zeros((len(offsets), TAPS, TAPS), np.float32)
    near = near_offsets(offsets)
    for own in near:
        others = [o for o in near if o != own]
        share = abs(others[0]) / (abs(own) + abs(others[0])) if others else 1.0
        taps[offsets.index(own), REACH, REACH] = share
    return taps


def solve(known: Equations, offsets: Offsets, ridge: float) -> Array:
    """Return the filter (2), flat [n] float64."""
    start = linear_taps(offsets).ravel().astype(np.float64)
    heavy = ridge * known.count * np.eye(len(start))
    factor = cho_factor(known.gram + heavy, overwrite_a=True, check_finite=False)
    return np.asarray(start + cho_solve(factor, known.right - known.gram @ start, check_finite=False))


def taps_of(weights: Array) -> Float:
    """Return a flat filter [n] as [s, TAPS, TAPS] float32."""
    return np.asarray(weights.reshape(-1, TAPS, TAPS), dtype=np.float32)


def best_ridge(places: Sequence[Equations], offsets: Offsets) -> tuple[float, float]:
    """Return the ridge that is best on places left out in turn, and its mean square error per px there.

    With a single place there is nothing to leave out: the strongest ridge is taken, and the error is the fit's own.
    """
    total = reduce(Equations.__add__, places)
    if len(places) < 2:
        ridge = RIDGES[-1]
        return ridge, total.error(solve(total, offsets, ridge))
    best = RIDGES[0], np.inf
    for ridge in RIDGES:
        error = float(np.mean([place.error(solve(total - place, offsets, ridge)) for place in places]))
        if error >= best[1]:
            # Too light a ridge learns noise, too heavy a one nothing: between them there is one best.
            break
        best = ridge, error
    return best


def apply(taps: Float, sections: Float) -> Float:
    """Return (1) at every pixel; sections are mirrored about their edges.

    Args:
        taps: [s, TAPS, TAPS].
        sections: [s, y, x] normalised.
    """
    padded = np.pad(sections, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="symmetric")
    drawn = oaconvolve(padded, taps[:, ::-1, ::-1], mode="valid", axes=(1, 2))
    return np.asarray(drawn.sum(axis=0), dtype=np.float32)
