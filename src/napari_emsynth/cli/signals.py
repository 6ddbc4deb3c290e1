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


class Ended(KeyboardInterrupt):
    """A signal asked the command to end. A class of its own: Python takes KeyboardInterrupt itself, where it passes
    through ``exec``, for Ctrl-C, and ends the process by that signal whatever exit code it returns.
    """


@contextmanager
def as_interrupts() -> Iterator[list[int]]:
    """Turn requests to end into :class:`Ended`, once; yields the numbers of those that arrived."""
    arrived: list[int] = []
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if here and signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature of a handler
        arrived.append(number)
        if len(arrived) == 1:  # others would disturb the cleaning up
            raise Ended

    for number in ours:
        signal.signal(number, end)
    try:
        yield arrived
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
