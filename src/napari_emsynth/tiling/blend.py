"""How overlapping tiles become one volume: sum(w f) / sum(w), streamed.

Because tiles lie on a regular grid and windows are separable, sum(w) is a product over the axes; each tile's
window is divided by it beforehand, and no volume of weights is ever held.

Laws: any window > 0 gives constant in = constant out, corners included, to rounding; blocks arrive in the
plan's order and each voxel is handed to the sink exactly once; at most one row of tiles along the first axis
is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.tiling.plan import Slices, Tile
from napari_emsynth.volume import Float

Write = Callable[[Slices, Float], None]
"""Called with (where in the volume, [c, *where] voxels)."""

Ramp = Callable[[int, int], NDArray[np.float64]]
"""(length, overlap) -> [length] weights, all > 0."""


def ramp(length: int, overlap: int) -> NDArray[np.float64]:
    """Return [length] weights > 0 that rise linearly over ``overlap`` voxels at both ends to 1."""
    rise = (np.arange(length) + 1) / (overlap + 1)
    return np.minimum(1.0, np.minimum(rise, rise[::-1]))


def window(shape: Sequence[int], overlap: Sequence[int]) -> NDArray[np.float64]:
    """Return the separable blending window [*shape], all > 0: the product of the axes' ramps."""
    out = np.ones(())
    for length, shared in zip(shape, overlap, strict=True):
        out = out[..., None] * ramp(length, shared)
    return out


def weights(spans: Sequence[tuple[int, int]], overlap: int, shape: Ramp = ramp) -> list[Float]:
    """Return each span's window along one axis, divided by the sum of all: a partition of unity.

    Args:
        spans: (start, stop) of every tile along the axis, together covering it.
        overlap: voxels over which a window rises.
        shape: the window; any that is > 0 everywhere.
    """
    windows = [shape(stop - start, overlap) for start, stop in spans]
    total = np.zeros(max(stop for _, stop in spans))
    for (start, stop), w in zip(spans, windows, strict=True):
        total[start:stop] += w
    return [(w / total[a:b]).astype(np.float32) for (a, b), w in zip(spans, windows, strict=True)]


class Accumulator:
    """Takes tiles in the plan's order and hands finished voxels to ``write``.

    Args:
        tiles: the plan.
        overlap: the plan's overlap, one an axis; all 0 passes blocks straight through.
        write: where finished voxels go.
        first: voxels before this position along the first axis are already written and left alone.
    """

    def __init__(
        self, tiles: Sequence[Tile], overlap: Sequence[int], write: Write, *, first: int = 0
    ) -> None:
        self._write = write
        self._blends = any(overlap)
        self._shape = tuple(max(t.out[axis].stop for t in tiles) for axis in range(len(overlap)))
        self._weights: list[dict[tuple[int, int], Float]] = []
        for axis, shared in enumerate(overlap):
            spans = sorted({(t.out[axis].start, t.out[axis].stop) for t in tiles})
            self._weights.append(dict(zip(spans, weights(spans, shared), strict=True)))
        self._finished = first
        self._row = (0, 0)
        self._band: Float | None = None  # [c, row, *rest] sums of w f over the current row of tiles

    @property
    def finished(self) -> int:
        """Every voxel before this position along the first axis has been handed to ``write``."""
        return self._finished

    def add(self, tile: Tile, block: Float) -> None:
        """Add one tile's result.

        Args:
            tile: next in the plan.
            block: [c, *tile.out]; not kept.
        """
        row = (tile.out[0].start, tile.out[0].stop)
        if row != self._row:
            self._next_row(row, len(block))
        if not self._blends:
            self._write(tile.out, block)
            return
        assert self._band is not None
        for axis, (span, known) in enumerate(zip(tile.out, self._weights, strict=True)):
            w = known[span.start, span.stop]
            block = block * w.reshape((-1,) + (1,) * (len(self._shape) - 1 - axis))
        inner = (slice(None), slice(0, row[1] - row[0]), *tile.out[1:])
        self._band[inner] += block

    def close(self) -> None:
        """Hand over what is left, after the last tile."""
        self._flush(self._shape[0])

    def _next_row(self, row: tuple[int, int], channels: int) -> None:
        self._flush(row[0])
        if self._blends:
            height, shared, old = row[1] - row[0], max(0, self._row[1] - row[0]), self._band
            if old is None or old.shape[1] != height:
                self._band = np.empty((channels, height, *self._shape[1:]), dtype=np.float32)
            assert self._band is not None
            if old is not None:
                self._band[:, :shared] = old[:, old.shape[1] - shared :]
            self._band[:, shared:] = 0
        self._row = row

    def _flush(self, until: int) -> None:
        if self._band is not None and until > self._finished:
            part = slice(self._finished - self._row[0], until - self._row[0])
            where = (slice(self._finished, until), *(slice(0, n) for n in self._shape[1:]))
            self._write(where, self._band[:, part])
        self._finished = max(self._finished, until)
