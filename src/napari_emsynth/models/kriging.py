"""Ordinary kriging: the best linear guess of a section between others, from how alike pixels are at every distance.

With ``C(d, r)`` the covariance of two pixels ``d`` px apart along z and ``r`` px apart along the sections, the patches
``P_s`` of :data:`TAPS` px around ``p`` in the sections ``s``, and ``c`` their covariance with what is wanted::

    mean(p) = sum_s w_s . P_s(p),    w = argmin E |y(p) - mean(p)|^2   with   sum w = 1        (1)
    (G + ridge I) w + m 1 = c,       1 . w = 1                                                 (2)
    E |y - mean|^2 = C(0, 0) - 2 w . c + w . G w                                               (3)

(Krige 1951; Matheron 1963, equations of ordinary kriging.) Sections that are slabs have the covariances of averages:
those of their points, averaged. Nothing but ``C`` is learned, and that is measured in the plane of the sections, where
pixels are fine, and taken to hold along z: tissue has no up. How far apart sections are is measured too: as far as
pixels in the plane that are as alike as neighbours are (:meth:`Correlation.spacing`). So sections that do not lie well
on each other count as further apart, and have less of a say in detail.

``C`` is the same in all directions of the plane, so pixels of a patch that lie alike have one weight (a class).
Conventions: sections are [y, x] float32, normalised; distances in px of the sections. Laws: constant sections give
the constant; equal sections in mirrored order give the mirrored answer; turned sections the turned answer.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_emsynth.volume import Array, Float

Matrix = NDArray[np.float64]
# "plane": a patch reaches along y and x; "row": along x only, for rows that pose as sections.
Reach = Literal["plane", "row"]

# Edge of the patch of a section in px.
TAPS = 7
REACH = TAPS // 2
# Distances at which covariances are measured, px; beyond, the last is taken.
FARTHEST = 48
# What is added to every pixel's variance, relative to it: covariances are measured, and lie between the whole pixels.
RIDGE = {"point": 3e-2, "slab": 1e-2}
# What sections may be apart, px.
SPACINGS = [quarters / 4 for quarters in range(1, 4 * FARTHEST + 1)]
# Where nothing was measured: px over which likeness falls by a factor e, as in tissue at 10 nm.
USUAL_PX = 6.0


@dataclass(frozen=True)
class Correlation:
    """How alike two pixels are at every distance.

    Args:
        table: [d, r] covariance over variance, d px apart along one axis and r along the other.
        variance: of a pixel, normalised units.
    """

    table: Matrix
    variance: float = 1.0

    @classmethod
    def usual(cls) -> Correlation:
        """Return what stands in where nothing can be measured."""
        return cls(np.exp(-np.hypot(*np.mgrid[: FARTHEST + 1, : FARTHEST + 1]) / USUAL_PX))

    @classmethod
    def measured(cls, sections: Sequence[Float]) -> Correlation:
        """Measure it in the plane of some sections [y, x], normalised; the usual one where they show nothing."""
        reach = min(FARTHEST, *(min(s.shape) - 1 for s in sections))
        table = np.mean([_covariance(s, reach) for s in sections], axis=0)
        if not table[0, 0] > 0:
            return cls.usual()
        table = np.pad((table + table.T) / 2, (0, FARTHEST - reach), mode="edge")
        return cls(table / table[0, 0], variance=float(table[0, 0]))

    def at(self, d: Array, r: Array) -> Matrix:
        """Return it at distances d and r px, of one shape, whatever the sections."""
        where = np.minimum(np.broadcast_arrays(np.abs(d), np.abs(r)), FARTHEST)
        return np.asarray(map_coordinates(self.table, where, order=1, mode="nearest"), np.float64)

    def spacing(self, likeness: float, *, slab: bool = False) -> float:
        """Return how far apart sections are, px, from how alike neighbours are.

        Args:
            likeness: mean product of neighbours' pixels over that of pixels with themselves.
            slab: whether sections are averages over their distance.
        """

        def less(px: float) -> float:
            itself, next_to = Kriging(self, px, slab).likeness(0, 1)
            return -float(next_to) / max(float(itself), 1e-12)

        return float(SPACINGS[min(bisect_left(SPACINGS, -likeness, key=less), len(SPACINGS) - 1)])

    def magnified(self, by: float) -> Correlation:
        """Return that of the same sections with ``by`` times as many pixels a length."""
        steps = np.arange(FARTHEST + 1) / by
        return replace(self, table=self.at(*np.meshgrid(steps, steps, indexing="ij")))

    def noisy(self, variance: float) -> Correlation:
        """Return that of the same sections with more noise, of that variance in normalised units."""
        whole = self.variance + variance
        table = self.table * (self.variance / whole)
        table[0, 0] = 1.0
        return replace(self, table=table, variance=whole)


def _covariance(section: Float, reach: int) -> Matrix:
    """Return the mean product of pixels at all distances [reach + 1, reach + 1], the same for all signs."""
    size = [n + reach for n in section.shape]
    spectrum = np.abs(np.fft.rfft2(section, s=size)) ** 2
    products = np.fft.irfft2(spectrum, s=size)[: reach + 1]
    steps = np.arange(reach + 1)
    counts = np.outer(section.shape[0] - steps, section.shape[1] - steps)
    return np.asarray((products[:, steps] + products[:, -steps]) / 2 / counts, np.float64)


@dataclass(frozen=True)
class _Known:
    """What (2) needs of some sections whatever is wanted: of classes of pixels, each over the root of their number.

    Args:
        covariance: [n, n].
        root: [n] of the number of pixels.
        inverse: [n, n] of covariance and ridge.
        evened: [n] the inverse times the root.
    """

    covariance: Matrix
    root: Matrix
    inverse: Matrix
    evened: Matrix


@dataclass(frozen=True)
class Kriging:
    """Equations (2) and (3) of sections that are evenly spaced.

    Args:
        correlation: of their pixels.
        spacing: distance of the sections, px.
        slab: whether a section is the average of all between it and its neighbours, or a thin one.
        reach: which pixels of a section have a say.
    """

    correlation: Correlation
    spacing: float
    slab: bool = False
    reach: Reach = "plane"

    @property
    def classes(self) -> list[list[tuple[int, int]]]:
        """Pixels (dy, dx) of a patch that lie alike, class by class."""
        return _classes(self.reach)

    def likeness(self, *apart: float) -> Matrix:
        """Return the covariances of pixels of the same place in sections that are so many sections apart."""
        return self._averaged(np.array(apart, np.float64), np.zeros(1), self._pairs)[:, 0]

    def weights(self, first: float, count: int) -> tuple[Matrix, float]:
        """Return the weight of every class of every section, and the root mean square error.

        Args:
            first: distance of the first section known from the one wanted, in sections; negative below.
            count: sections known, each next to the one before.

        Returns:
            [sections, classes], and (3) in normalised units.
        """
        known = self._known(count)
        there = first + np.arange(count, dtype=np.float64)
        counts = np.array([len(pixels) for pixels in self.classes])
        lengths = np.array([np.hypot(*pixels[0]) for pixels in self.classes])
        wanted = (counts * self._averaged(there, lengths, self._places)).ravel() / known.root
        solved = known.inverse @ wanted
        w = solved + known.evened * (1 - known.root @ solved) / (known.root @ known.evened)  # (2)
        error = 1 - 2 * w @ wanted + w @ known.covariance @ w  # (3)
        rms = math.sqrt(max(float(error), 0.0) * self.correlation.variance)
        return (w / known.root).reshape(count, -1), rms

    def _known(self, count: int) -> _Known:
        if count not in self._solved:
            self._solved[count] = self._solve(count)
        return self._solved[count]

    def _solve(self, count: int) -> _Known:
        lengths, counts = _lags(self.reach)
        of = counts @ self._averaged(np.arange(count, dtype=np.float64), lengths, self._pairs).T  # [c, c, count]
        blocks = np.block([[of[..., abs(i - j)] for j in range(count)] for i in range(count)])
        # A class of n pixels is scaled by 1 / sqrt(n), so that the ridge is that of single pixels.
        root = np.sqrt(np.tile([float(len(pixels)) for pixels in self.classes], count))
        covariance = blocks / np.outer(root, root)
        values, vectors = np.linalg.eigh(covariance)
        # What was measured at some distances need not be a covariance: no direction may have less than the ridge.
        ridge = RIDGE["slab" if self.slab else "point"] * self.likeness(0)[0]
        inverse = (vectors / np.maximum(values + ridge, ridge)) @ vectors.T
        return _Known(covariance, root, inverse, inverse @ root)

    def _averaged(self, d: Matrix, r: Matrix, over: tuple[Matrix, Matrix]) -> Matrix:
        """Return the covariance at d sections and r px, [d, r], averaged over (offsets px, their shares)."""
        offsets, shares = over
        where = (d[:, None] * self.spacing + offsets)[..., None]  # [d, offset, 1]
        return np.asarray(np.einsum("o,dor->dr", shares, self.correlation.at(where, r)), np.float64)

    @cached_property
    def _solved(self) -> dict[int, _Known]:
        return {}

    @cached_property
    def _places(self) -> tuple[Matrix, Matrix]:
        """Points that a section averages, from its centre in px, and their shares."""
        if not self.slab:
            return np.zeros(1), np.ones(1)
        n = max(1, round(self.spacing))
        return ((np.arange(n) + 0.5) / n - 0.5) * self.spacing, np.full(n, 1 / n)

    @cached_property
    def _pairs(self) -> tuple[Matrix, Matrix]:
        """The same of pairs of points, one of each of two sections."""
        places, _ = self._places
        n = len(places)
        steps = np.arange(1 - n, n)
        return np.asarray(steps * (self.spacing / n), np.float64), np.asarray((n - np.abs(steps)) / n**2, np.float64)


@cache
def _classes(reach: Reach) -> list[list[tuple[int, int]]]:
    found: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for dy in range(-REACH, REACH + 1) if reach == "plane" else (0,):
        for dx in range(-REACH, REACH + 1):
            found.setdefault(tuple(sorted((abs(dy), abs(dx)))), []).append((dy, dx))
    return list(found.values())


@cache
def _lags(reach: Reach) -> tuple[Matrix, Matrix]:
    """Return the distances of all pairs of pixels [k], and how often two classes have each: [c, c, k]."""
    classes = [np.asarray(pixels) for pixels in _classes(reach)]
    lengths = [[_lengths(a[:, None] - b[None]) for b in classes] for a in classes]
    every = np.unique(np.concatenate([found for row in lengths for found in row]))
    counts = [[np.bincount(np.searchsorted(every, f), minlength=len(every)) for f in row] for row in lengths]
    return np.asarray(every, np.float64), np.asarray(counts, np.float64)


def _lengths(steps: Array) -> Matrix:
    """Return the lengths of steps [..., 2], flat, rounded so that equal ones are equal."""
    return np.asarray(np.round(np.hypot(steps[..., 0], steps[..., 1]), 9).ravel(), np.float64)


def class_sums(section: Float, classes: Sequence[Sequence[tuple[int, int]]]) -> Float:
    """Return the sum over each class of pixels around every pixel of a section, mirrored about its edges: [c, y, x]."""
    height, width = section.shape
    padded = np.pad(section, REACH, mode="symmetric")
    sums = np.zeros((len(classes), *section.shape), np.float32)
    for total, pixels in zip(sums, classes, strict=True):
        for dy, dx in pixels:
            total += padded[REACH + dy : REACH + dy + height, REACH + dx : REACH + dx + width]
    return sums


def applied(weights: Matrix, sums: Iterable[Float]) -> Float:
    """Return (1) [y, x]: weights [s, c] of :meth:`Kriging.weights` on the sums [c, y, x] of every section."""
    parts = [np.einsum("c,cyx->yx", w, section) for w, section in zip(weights.astype(np.float32), sums, strict=True)]
    # From both ends inwards, so that a mirrored stack has the mirrored answer to the last bit.
    pairs = [parts[i] + parts[-1 - i] for i in range(len(parts) // 2)]
    middle = parts[len(parts) // 2 : len(parts) // 2 + len(parts) % 2]
    return np.asarray(reduce(np.add, [*pairs, *middle]), np.float32)
