"""Which sections a method sees around the one it makes finer.

Where sections are much thinner than pixels are wide, adjacent ones say the same: those ``k`` apart, in which membranes
have moved on by a part of a pixel, say more. ``k`` is measured on the volume (:func:`spacing`). On held-out FIB-SEM
sections of 10 nm, reduced 8 times, `single-stage` gains 0.18 dB by its neighbours at ``k = 1`` and 0.32 dB at 3.

Laws: the middle one is the section itself, damaged or not; no other damaged section is seen; where nothing is damaged
and the stack does not end, the sections are ``z - n k`` to ``z + n k``, ``k`` apart.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.trust.intact import LeftOut
from napari_emsynth.trust.rules import Kind
from napari_emsynth.trust.validity import shown
from napari_emsynth.volume import Array, Volume

# What is wrong with sections that must not speak for their neighbours. Brightness jumps and blur are no reason.
MISLEADING: frozenset[Kind] = frozenset(
    {"missing", "blank", "saturated", "inverted", "half-missing", "noisy", "displaced"}
)
# Sections that correlate this well are still alike; chosen where networks gained most on held-out sections (0.87-0.92).
ALIKE = 0.9
# Places in the stack where that is measured, and the largest edge that is read there, px.
PLACES, EDGE = 7, 512


def seen(z: int, count: int, context: int, damaged: Collection[int] = (), apart: int = 1) -> list[int]:
    """Return the sections [2 n + 1] that stand for the neighbours of section ``z``.

    Beyond the ends of the stack, and for damaged neighbours, the nearest section from ``z - n k`` to ``z + n k`` that
    may be seen; of two equally near ones that further from ``z``.

    Args:
        z: the section.
        count: sections of the stack.
        context: n.
        damaged: sections that are not to be seen.
        apart: k.
    """
    wanted = [min(max(z + apart * step, 0), count - 1) for step in range(-context, context + 1)]
    intact = [s for s in range(wanted[0], wanted[-1] + 1) if s == z or s not in damaged]
    return [min(intact, key=lambda s: (abs(s - w), -abs(s - z), s)) for w in wanted]


def spacing(volume: Volume, context: int, most: int) -> int:
    """Return how many sections apart neighbours are best looked at.

    Args:
        volume: [z, y, x]; a few runs of sections and their middle are read.
        context: n, sections that are looked at on each side.
        most: further apart than this they must not be.

    Returns:
        The most sections, from 1 to ``most``, that lie between two that still correlate :data:`ALIKE`; fewer where the
        stack has not as many.
    """
    count = volume.shape[0]
    most = min(most, (count - 1) // max(2 * context, 1))
    if context == 0 or most < 2:
        return 1
    y, x = (middle(n, EDGE) for n in volume.shape[1:])
    alike = []
    for first in np.unique(np.linspace(0, count - 1 - most, PLACES).round().astype(int)):
        run = [shown(volume, z, y, x) for z in range(first, first + most + 1)]
        alike.append([_correlation(run[0], other) for other in run[1:]])
    # Of the places most: a damaged section must not speak for the volume.
    enough = np.median(alike, axis=0) >= ALIKE
    return most if enough.all() else max(1, int(enough.argmin()))


def _correlation(a: Array, b: Array) -> float:
    """Return the correlation of two sections where both are known; 0 without structure."""
    known = np.isfinite(a) & np.isfinite(b)
    p, q = (section[known].astype(np.float64) for section in (a, b))
    if not p.size:
        return 0.0
    p, q = p - p.mean(), q - q.mean()
    power = float(np.sqrt((p @ p) * (q @ q)))
    return float(p @ q) / power if power else 0.0


def misleading(found: LeftOut) -> frozenset[int]:
    """Return the sections, of those that look damaged, that must not speak for their neighbours."""
    return frozenset(z for z, kind in found.kinds.items() if kind in MISLEADING)
