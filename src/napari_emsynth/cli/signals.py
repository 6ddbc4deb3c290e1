"""Signals that end a command as Ctrl-C does: cleaned up, and with a word of what is left.

Law: what a signal did before is what it does afterwards; one that is ignored (``nohup``) stays ignored.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGTERM", "SIGHUP")


@contextmanager
def as_interrupts() -> Iterator[list[int]]:
    """Turn requests to end into KeyboardInterrupt, once; yields the numbers of those that arrived."""
    arrived: list[int] = []
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if here and signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature of a handler
        arrived.append(number)
        if len(arrived) == 1:  # others would disturb the cleaning up
            raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, end)
    try:
        yield arrived
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
