"""What the numbers of a page mean: which end is white, and what a colour map makes of them.

Laws: intensities are read as any viewer shows them, low is dark; what is turned is said; numbers whose meaning is not
grey (a palette of colours) are kept, and that is said, where the whole stack shares it, else refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.volume import Array

WHITE_IS_ZERO, PALETTE = 0, 3
COLOURED = "has a colour map: its indices are taken as voxels"


@dataclass(frozen=True)
class Inverted:
    """White was the lowest number."""

    white: int
    said = "stores white as its lowest value (MinIsWhite): turned, so that low is dark"

    def __call__(self, stored: Array) -> Array:
        """Return intensities, low is dark."""
        return ~stored if stored.dtype.kind == "b" else (self.white - stored.astype(np.int64)).astype(stored.dtype)


@dataclass(frozen=True, eq=False)
class Grey:
    """A colour map of greys says how bright each number is."""

    levels: Array
    said = "has a colour map of greys: it is applied"

    def __call__(self, stored: Array) -> Array:
        """Return intensities of the type stored."""
        return self.levels[stored].astype(stored.dtype)


def meaning(page: Any) -> tuple[Callable[[Array], Array] | None, str]:
    """Return what turns the numbers of a page into intensities, and what to say of it.

    Returns:
        None and "" where they are intensities; None and a sentence where they are kept though they mean another thing.
    """
    kind = np.dtype(page.dtype).kind
    if page.photometric == WHITE_IS_ZERO:
        if kind not in "bu":
            return None, f"stores white as its lowest value (MinIsWhite), as {page.dtype}: kept as it is stored"
        turn = Inverted((1 << int(np.max(page.bitspersample))) - 1)
        return turn, turn.said
    if page.photometric != PALETTE or page.colormap is None:
        return None, ""
    red, green, blue = (np.asarray(c) for c in page.colormap)
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        return None, COLOURED
    # Colour maps hold 16 bits whatever the voxels have.
    levels = red >> 8 if np.dtype(page.dtype).itemsize == 1 else red
    if np.array_equal(levels, np.arange(levels.size)):
        return None, ""
    grey = Grey(levels)
    return grey, grey.said
