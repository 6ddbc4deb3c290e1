"""Which sections a method sees around the one it makes finer: index arithmetic only.

Laws: the middle one is the section itself, damaged or not; no other damaged section is seen; where nothing is damaged
and the stack does not end, the sections are ``z - n`` to ``z + n``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.sections import parse_sections
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.detect import Kind, detect
from napari_emsynth.volume import Volume

# What is wrong with sections that must not speak for their neighbours. Brightness jumps and blur are no reason.
MISLEADING: frozenset[Kind] = frozenset({"blank", "saturated", "half-missing", "displaced"})


def seen(z: int, count: int, context: int, damaged: Collection[int] = ()) -> list[int]:
    """Return the sections [2 n + 1] that stand for the neighbours of section ``z``.

    Beyond the ends of the stack, and for damaged neighbours, the nearest section that may be seen; of two equally
    near ones that further from ``z``.

    Args:
        z: the section.
        count: sections of the stack.
        context: n.
        damaged: sections that are not to be seen.
    """
    wanted = [min(max(z + step, 0), count - 1) for step in range(-context, context + 1)]
    intact = [s for s in set(wanted) if s == z or s not in damaged]
    return [min(intact, key=lambda s: (abs(s - w), -abs(s - z), s)) for w in wanted]


def misleading(volume: Volume, runtime: Runtime) -> dict[int, str]:
    """Return the sections that must not speak for their neighbours, and why.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """

    def progress(done: int, total: int, _: str) -> None:
        runtime.progress(done, total, "looking for damaged sections")

    suspects = detect(volume, progress=progress, cancel=runtime.cancel)
    return {s.section: s.detail for s in suspects if s.kind in MISLEADING}


def check_damaged(damaged: str | int | Sequence[int] | None, count: int) -> list[int] | None:
    """Return the sections that a user calls damaged; None when nothing was said.

    Args:
        damaged: indices, or text such as "12,40-42"; empty for none.
        count: sections of the stack.

    Raises:
        InputError: not such a list, or a section outside the stack.
    """
    if damaged is None:
        return None
    if isinstance(damaged, str):
        return parse_sections(damaged, count, "damaged") if damaged.strip() else []
    named = [int(z) for z in ([damaged] if isinstance(damaged, int | np.integer) else damaged)]
    for z in named:
        if not 0 <= z < count:
            raise InputError(f"section {z} is outside the stack, whose sections are 0 to {count - 1}")
    return named
