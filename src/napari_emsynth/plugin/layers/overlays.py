"""Two sections as one picture, to see whether they lie on each other; free of Qt and napari.

Conventions: red is the first section, green the second: what lies on the other is yellow. In squares, what continues
runs on from one square to the next.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from napari_emsynth.volume import Array

How = Literal["red/green", "squares"]
HOWS: tuple[How, ...] = ("red/green", "squares")
# Squares along the shorter side of a section, and the least px of one.
SQUARES, SMALLEST_PX = 12, 8


def overlaid(how: How, below: Array, above: Array, limits: tuple[float, float]) -> Array:
    """Return two sections [y, x] as one picture: [y, x, 3] uint8 for red/green, [y, x] for squares."""
    if how == "squares":
        return np.where(squares(below.shape), below, above)
    return np.stack(
        [brightness(below, limits), brightness(above, limits), np.zeros(below.shape, np.uint8)], -1
    )


def brightness(pixels: Array, limits: tuple[float, float]) -> Array:
    """Return pixels as 0 to 255 between contrast limits; 0 where they are not finite."""
    low, high = limits
    share = (np.nan_to_num(np.asarray(pixels, np.float32), nan=low) - low) / max(high - low, 1e-12)
    return (255 * np.clip(share, 0, 1)).round().astype(np.uint8)


def squares(shape: tuple[int, int]) -> Array:
    """Return [y, x] bool, True where the original is shown; the corner at 0, 0 shows the result."""
    edge = max(SMALLEST_PX, min(shape) // SQUARES)
    y, x = (np.arange(n) // edge % 2 for n in shape)
    return y[:, None] != x[None, :]
