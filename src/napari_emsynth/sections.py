"""Lists of sections as text, the way people write them: ``12,40-42``.

Conventions: sections are 0-based and ranges are closed. Law: ``parse_sections(spans(s), n) == sorted(s)`` for
sections below ``n``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from numbers import Integral
from typing import Any

from napari_emsynth.errors import InputError


def parse_sections(text: str, count: int, what: str = "--sections") -> list[int]:
    """Return the sections that ``text`` lists, in order, repeats kept.

    Args:
        text: 0-based indices and closed ranges, such as "12,40-42".
        count: sections of the volume; ranges are held against it before they are written out.
        what: the list is, for the refusal.

    Raises:
        InputError: not such a list, or a section outside the stack.
    """
    sections: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise InputError(f"{what} {text!r}: {part.strip()!r} is not a section such as 12 nor a range such as 40-42")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"{what} {text!r}: the range {first}-{last} runs backwards")
        if last >= count:
            raise InputError(f"section {last} is outside the stack, whose sections are 0 to {count - 1}")
        sections.extend(range(first, last + 1))
    return sections


def check_sections(given: str | int | Iterable[int], count: int, what: str = "sections") -> list[int]:
    """Return the sections that a user names, in order, each once.

    Args:
        given: indices, or text such as "12,40-42"; empty for none.
        count: sections of the volume.
        what: the list is, for the refusal.

    Raises:
        InputError: not such a list, or a section outside the stack.
    """
    if isinstance(given, str):
        return sorted(set(parse_sections(given, count, what))) if given.strip() else []
    named: list[Any] = [given] if isinstance(given, Integral) else list(given)  # type: ignore[arg-type]
    for z in named:
        if isinstance(z, bool) or not isinstance(z, Integral):
            raise InputError(f"{what}: {z!r} is not a whole number")
        if not 0 <= int(z) < count:
            raise InputError(f"section {z} is outside the stack, whose sections are 0 to {count - 1}")
    return sorted({int(z) for z in named})


def spans(sections: Iterable[int]) -> str:
    """Write section numbers as the command line takes them: ``12,40-42``."""
    parts: list[list[int]] = []
    for z in sorted(sections):
        if parts and z == parts[-1][1] + 1:
            parts[-1][1] = z
        else:
            parts.append([z, z])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
