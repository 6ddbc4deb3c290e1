"""Smooth functions on coarse nodes: cubic convolution on a cell-centred lattice.

Node ``i`` of ``n`` along an axis of ``N`` px sits at px ``(i + 0.5) N / n - 0.5``. Between nodes the value is Keys'
cubic convolution (a = -1/2) of the four nearest nodes::

    f(t) = sum_k w_k(t - i) f_(i+k),  i = floor(t),  k = -1 .. 2                                 (1)

Beyond the outer nodes the function goes on as a straight line. Laws: nodes are met exactly; constant and linear
functions come out exactly, at the faces too; a value depends on its place alone, so that any crop equals the crop of
the whole, bit by bit.
Source: Keys 1981, Cubic convolution interpolation for digital image processing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.volume import Float

Float64 = NDArray[np.float64]
# Largest sum of |w_k|: values between nodes leave the nodes' range by no more than an eighth of it on either side.
GAIN = 1.25


def node_places(nodes: int, length: int) -> Float64:
    """Return the px [nodes] at which the nodes of an axis of ``length`` px sit."""
    return np.asarray((np.arange(nodes) + 0.5) * length / nodes - 0.5)


def keys(t: Float64) -> tuple[Float64, ...]:
    """Return the four weights (1) of places ``t`` in [0, 1) behind the second node."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@dataclass(frozen=True)
class Taps:
    """Which nodes each of some places along an axis looks at, and how much.

    Args:
        first: [p] index of the first of four nodes; may lie beyond the axis.
        weights: four arrays [p].
        nodes: how many the axis has.
    """

    first: NDArray[np.int64]
    weights: tuple[Float64, ...]
    nodes: int

    @classmethod
    def at(cls, places: Float64, nodes: int, length: int) -> Taps:
        """Return the taps of places [p] in px of an axis of ``length`` px; beyond it the nearest place is taken."""
        inside = np.clip(places, -0.5, length - 0.5)
        # Where there is a node to every pixel the lattice is the pixels': no rounding may come in.
        t = inside if nodes == length else (inside + 0.5) * (nodes / length) - 0.5
        below = np.floor(t)
        return cls(below.astype(np.int64) - 1, keys(t - below), nodes)

    @property
    def span(self) -> slice:
        """The nodes to be read; two at least where the axis has them, for the straight line beyond its ends."""
        low = min(max(0, int(self.first.min())), max(0, self.nodes - 2))
        high = max(min(self.nodes, int(self.first.max()) + 4), min(2, self.nodes))
        return slice(low, high)

    def extended(self, values: Any, axis: int) -> tuple[Any, NDArray[np.int64]]:
        """Return the nodes of :attr:`span` with those beyond the ends made up, and [p] the first tap's index in it."""
        low, high = int(self.first.min()), int(self.first.max()) + 4
        span = self.span
        before, after = max(0, span.start - low), max(0, high - span.stop)
        wide = np.concatenate(
            [_beyond(values, axis, 0, before)[::-1], np.moveaxis(values, axis, 0), _beyond(values, axis, -1, after)]
        )  # fmt: skip
        return np.moveaxis(wide, 0, axis), self.first - span.start + before


def _beyond(values: Any, axis: int, end: int, count: int) -> Any:
    """Return ``count`` nodes [count, ...] on the straight line beyond an end of ``axis``, the nearest first."""
    rows = np.moveaxis(values, axis, 0)
    outer, inner = rows[end], rows[(1 if end == 0 else -2) if len(rows) > 1 else end]
    steps = np.arange(1, count + 1, dtype=rows.dtype).reshape(-1, *[1] * outer.ndim)
    return outer + steps * (outer - inner)


def on_grid(nodes: Float, y: Taps, x: Taps) -> Float:
    """Return the function [2, h, w] on a grid of places.

    Args:
        nodes: [2, y', x'] the nodes of both spans.
        y: taps of h rows.
        x: taps of w columns.
    """
    rows, start = y.extended(nodes, 1)
    part = _weighted(lambda k: rows[:, start + k], [w.astype(np.float32)[:, None] for w in y.weights])
    columns, start = x.extended(part, 2)
    # Columns first: whole columns are gathered, which is several times faster than single values.
    turned = np.ascontiguousarray(np.moveaxis(columns, 2, 0))
    out = _weighted(lambda k: turned[start + k], [w.astype(np.float32)[:, None, None] for w in x.weights])
    return np.ascontiguousarray(np.moveaxis(np.asarray(out, np.float32), 0, 2))


def at_points(nodes: Float, y: Taps, x: Taps) -> Float64:
    """Return the function [2, p] at single places.

    Args:
        nodes: [2, y', x'] the nodes of both spans.
        y: taps of p places.
        x: taps of the same p places.
    """
    rows, top = y.extended(nodes, 1)
    both, left = x.extended(rows, 2)
    return np.asarray(
        _weighted(lambda k: _weighted(lambda m: both[:, top + k, left + m], x.weights), y.weights), np.float64
    )


def _weighted(tap: Callable[[int], Any], weights: Sequence[Any]) -> Any:
    """Return (1), from the second tap on: where all taps are equal, rounding changes nothing."""
    middle = tap(1)
    out = middle.astype(np.result_type(middle, weights[0]))
    for k in (0, 2, 3):
        out += weights[k] * (tap(k) - middle)
    return out
