"""Every task computes with as many threads as its sections are worth, see :mod:`napari_emsynth.tiling.threads`.

Law: a method that needs no torch does not load it for this; where torch is loaded on the way, the number of threads is
set then.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any


class _Waiting(threading.local):
    """Work of this thread that began before torch was loaded: what ends with it, and its pixels."""

    def __init__(self) -> None:
        self.work: tuple[ExitStack, int] | None = None


_WAITING = _Waiting()


@contextmanager
def working(pixels: int) -> Iterator[None]:
    """Compute on sections of so many pixels."""
    with ExitStack() as stack:
        before = _WAITING.work
        if "torch" in sys.modules:
            _take(stack, pixels)
        else:
            _WAITING.work = (stack, pixels)
            stack.callback(setattr, _WAITING, "work", before)
        yield


def torch_is_here() -> None:
    """Take threads up for the work of this thread, where torch was loaded only after it began."""
    if _WAITING.work is not None and "torch" in sys.modules:
        (stack, pixels), _WAITING.work = _WAITING.work, None
        _take(stack, pixels)


def _take(stack: ExitStack, pixels: int) -> None:
    from napari_emsynth.tiling.threads import fitting, threads

    stack.enter_context(threads(fitting(pixels)))


def section_px(volume: Any) -> int:
    """Return how many pixels a section of a volume [z, y, x] has; 0 of what is none, which is refused elsewhere."""
    shape = tuple(getattr(volume, "shape", ()))
    return prod(shape[1:]) if len(shape) == 3 else 0
