"""Stretches of work that a signal waits for.

Law: an interrupt that arrives meanwhile is handled right after, as it would have been; nothing is lost or swallowed.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

# What asks a process to end; not all systems have all of them.
ENDINGS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let interrupts wait until the block is done; only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, Any]] = []
    before = {number: handler for number in ENDINGS if callable(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, lambda *what: arrived.append(what))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in arrived[:1]:
            before[number](number, frame)
