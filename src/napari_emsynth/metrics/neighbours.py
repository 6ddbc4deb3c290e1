"""How two neighbouring sections relate: the noise that they do not share, and how alike they are.

Conventions: sections are [y, x] float32, normalised. Law: both are the same for exchanged sections.
"""

from __future__ import annotations

import math

import numpy as np

from napari_emsynth.volume import Float


def noise_of(below: Float, above: Float) -> float:
    """Return the deviation of a section's noise: what two neighbours differ by at the finest scale.

    The mask of Immerkaer 1996, "Fast noise variance estimation", on the difference: structures that stay cancel.

    Args:
        below: [y, x] normalised.
        above: [y, x] normalised.
    """
    d = below - above
    if min(d.shape) < 3:
        return 0.0
    rows = d[:-2] - 2 * d[1:-1] + d[2:]
    fine = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    # The mask's gain on white noise is 6; the difference of two sections carries the noise twice.
    return float(np.abs(fine).mean() * math.sqrt(math.pi / 2) / 6 / math.sqrt(2))


def correlation_of(below: Float, above: Float) -> float:
    """Return Pearson's correlation of two sections [y, x]; 1 for constant ones."""
    a, b = below - below.mean(), above - above.mean()
    power = math.sqrt(float(np.square(a).sum()) * float(np.square(b).sum()))
    return float((a * b).sum()) / power if power > 0 else 1.0
