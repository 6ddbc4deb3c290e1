"""What a person or a script sees: lines and a bar on standard error, one answer on standard output."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm


def complain(line: str) -> None:
    """Write one line to standard error, whatever line breaks the text holds."""
    print(f"emsynth: {' '.join(line.split())}", file=sys.stderr, flush=True)


# A refusal is one line and comes at once; what is worth knowing of a job waits until it is one.
SECONDS_UNTIL_A_JOB = 5.0


class Screen:
    """The terminal during one command.

    While it is entered, anything that prints goes to standard error: only :meth:`answer` reaches standard
    output.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._bar: Any = None
        self._what = ""
        self._context = contextlib.ExitStack()
        self._answers = sys.stdout
        self._waiting: list[str] = []
        self._started = time.monotonic()
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        self._answers = sys.stdout
        self._context.enter_context(contextlib.redirect_stdout(sys.stderr))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close_bar()
        self._context.close()

    def say(self, line: str) -> None:
        """Tell the user something beside the answer: at once to a person, to a log when the job is under way."""
        self._waiting.append(line)
        if sys.stderr.isatty():
            self._tell()

    def note(self, line: str) -> None:
        """Tell the user what the engine had to change, and keep it for the answer."""
        self.notes.append(line)
        self.say(line)

    def progress(self, done: int, total: int, what: str) -> None:
        """Move the bar; there is one only when a person is looking at standard error."""
        if self._waiting and time.monotonic() - self._started > SECONDS_UNTIL_A_JOB:
            self._tell()
        if not sys.stderr.isatty():
            return
        if self._bar is None or what != self._what or total != self._bar.total:
            self._close_bar()
            self._bar, self._what = tqdm(total=total, desc=what, file=sys.stderr, leave=False), what
        self._bar.update(done - self._bar.n)

    def answer(self, value: dict[str, Any], text: str) -> None:
        """Write the command's result: ``value`` as one JSON object with ``--json``, else ``text``."""
        self._tell()
        print(json.dumps(_plain(value)) if self._json else text, file=self._answers, flush=True)

    def _tell(self) -> None:
        self._close_bar()
        for line in self._waiting:
            complain(line)
        self._waiting.clear()

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it: numpy's scalars and arrays as Python's, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )
