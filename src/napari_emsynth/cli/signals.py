"""Signals that end a command, Ctrl-C among them: cleaned up, and with a word of what is left.

Laws: what a signal did before is what it does afterwards; one that is ignored (``nohup``) stays ignored; a request to
end is not lost where a library that is being loaded swallows the exception: the job's token is cancelled, too.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari_emsynth.spec import CancelToken

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
UNHANDLED = (signal.SIG_DFL, signal.default_int_handler)


class Ended(KeyboardInterrupt):
    """A signal asked the command to end. A class of its own: Python takes KeyboardInterrupt itself, where it passes
    through ``exec``, for Ctrl-C, and ends the process by that signal whatever exit code it returns.
    """


_TOKENS: list[CancelToken] = []


@contextmanager
def ending(token: CancelToken) -> Iterator[None]:
    """Cancel a job's token, too, when a signal asks the command to end meanwhile."""
    _TOKENS.append(token)
    try:
        yield
    finally:
        _TOKENS.remove(token)


@contextmanager
def as_interrupts() -> Iterator[list[int]]:
    """Turn requests to end into :class:`Ended`; yields the numbers of those that arrived."""
    arrived: list[int] = []
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    here = threading.current_thread() is threading.main_thread()
    before = {number: handler for number in numbers if here and (handler := signal.getsignal(number)) in UNHANDLED}

    def end(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature of a handler
        arrived.append(number)
        for token in _TOKENS:
            token.cancel()
        raise Ended

    for number in before:
        signal.signal(number, end)
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
