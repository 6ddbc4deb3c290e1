"""Margins of a section: pixels that no camera saw, told from tissue by what they look like.

A *margin* is one value, exactly, in an area that begins at the section's border and runs inwards in straight lines; a
shift, a rotation, a montage or half an exposure leaves such. It must

* touch the border along :data:`CONTACT` of a side in one run, and be 3 px deep: chance is shorter;
* leave some of the section, and that must be tissue: fewer than :data:`FLAT` of its adjacent pixels are equal. A
  drawing, labels and a constant section have no margins;
* where its value is the darkest or the brightest of all, reach a corner or along half of a side, and end abruptly: a
  stained vessel, or a lumen, that saturates the camera is one value too, but fades into what is around it. The pixels
  just beyond a margin differ from it by :data:`JUMP` standard deviations of the tissue, in the median.

Resin is not empty: it was seen, and shows noise. Laws: a section that has no long run of one value at its border has no
margin, and is not looked at any further; inverting the grey levels, or turning the section, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.volume import Array

Mask = NDArray[np.bool_]

# Shortest run of one value along a side, as a share of the side and in px.
CONTACT, CONTACT_PX = 0.1, 16
# Least share of a section that is no margin.
LEAST_TISSUE = 0.01
# Share of adjacent pixels that are equal in what is no image of tissue.
FLAT = 0.75
# How much of a side, or else a corner, and how abruptly it ends, in standard deviations, of one that may be saturated.
HALF, JUMP = 0.5, 1.0
# Pixels that are looked at along each axis where statistics will do.
SAMPLED = 512
# Rows of a walk that are read at once.
STRIDE = 32


def margin_of(pixels: Array) -> Mask | None:
    """Return where a section is margin: [y, x], True where nothing was seen; None where there is none.

    Args:
        pixels: [y, x] a whole section, any real dtype.
    """
    found: Mask | None = None
    if pixels.dtype.kind == "b" or min(pixels.shape) < CONTACT_PX:
        return None
    for value in _touching(frame_of(pixels)):
        area = _reached(pixels, value)
        if area.any() and _is_margin(pixels, area, value):
            found = area if found is None else found | area
    return found


def frame_of(pixels: Array) -> tuple[Array, Array, Array, Array]:
    """Return the outermost lines of a section: first and last row, first and last column."""
    return pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]


def may_have_margin(frame: tuple[Array, ...]) -> bool:
    """Return whether the outermost lines of a section hold a long run of one value; without, it has no margin."""
    return frame[0].dtype.kind != "b" and min(line.size for line in frame) >= CONTACT_PX and bool(_touching(frame))


def _touching(frame: tuple[Array, ...]) -> list[float]:
    """Return the values of which the outermost lines hold long runs."""
    return sorted({line[start].item() for line in frame for start, _ in _runs(line[1:] == line[:-1], line.size)})


def _runs(same: Mask, length: int) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of the long runs along a line; ``same``: each pixel but the first equals the one before."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
    for first, last in edges.reshape(-1, 2):
        if last - first + 1 >= max(CONTACT_PX, CONTACT * length):
            yield int(first), int(last) + 1


def _reached(pixels: Array, value: float) -> Mask:
    """Return where straight lines from long runs at the border lead through pixels of ``value`` that lie deep in it."""
    reached = np.zeros(pixels.shape, bool)
    for turned, out in (
        (pixels, reached),
        (pixels[::-1], reached[::-1]),
        (pixels.T, reached.T),
        (pixels.T[::-1], reached.T[::-1]),
    ):
        _walk(turned, value, out)
    return np.asarray(reached & (pixels == value))


def _walk(turned: Array, value: float, out: Mask) -> None:
    """Walk inwards from the first row of a section, and mark the 3 x 3 pixels around every step."""
    alive = np.zeros(turned.shape[1], bool)
    for first, stop in _runs((turned[0, 1:] == value) & (turned[0, :-1] == value), alive.size):
        alive[first:stop] = True
    for top in range(0, len(turned), STRIDE):
        at = np.flatnonzero(alive)
        if not at.size:
            return
        # Columns: lines across the memory are slow to read, and most of them end early.
        part = slice(max(at[0] - 1, 0), at[-1] + 2)
        rows = np.pad(
            turned[max(top - 1, 0) : top + STRIDE + 1, part] == value, ((top == 0, 1), (0, 0)), constant_values=True
        )
        going = alive[part]
        for row in range(1, min(STRIDE, len(turned) - top) + 1):
            going &= ~_widened(~(rows[row - 1] & rows[row] & rows[row + 1]))
            if not going.any():
                break
            out[max(top + row - 2, 0) : top + row + 1, part] |= _widened(going)


def _widened(line: Mask) -> Mask:
    """Return where a pixel of a line, or one beside it, is set."""
    out = line.copy()
    out[1:] |= line[:-1]
    out[:-1] |= line[1:]
    return out


def _dilated(mask: Mask) -> Mask:
    """Return where any of the 3 x 3 pixels around is set."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    rows = out.copy()
    out[:, 1:] |= rows[:, :-1]
    out[:, :-1] |= rows[:, 1:]
    return out


def _is_margin(pixels: Array, area: Mask, value: float) -> bool:
    if 1 - area.mean() < LEAST_TISSUE:
        return False
    y, x = (max(1, n // SAMPLED) for n in pixels.shape)
    some, left = pixels[::y], ~area[::y]
    pairs = left[:, 1:] & left[:, :-1]
    if not pairs.any() or (some[:, 1:] == some[:, :-1])[pairs].mean() >= FLAT:
        return False
    tissue = some[:, ::x][left[:, ::x]].astype(np.float64)
    tissue = tissue[np.isfinite(tissue)]
    if not tissue.size:
        return False
    if tissue.min() < value < tissue.max():
        return True
    rim = pixels[_dilated(area) & ~area].astype(np.float64)
    rim = np.abs(rim[np.isfinite(rim)] - value)
    return _spans_a_corner(area) and bool(rim.any() and np.median(rim[rim > 0]) >= JUMP * tissue.std())


def _spans_a_corner(area: Mask) -> bool:
    """Return whether a margin reaches a corner, or along half of a side."""
    sides = frame_of(area)
    return any(side[0] or side[-1] or side.mean() >= HALF for side in sides)
