"""The list of sections a user marked, as values; every change makes a new list, so that it can be undone.

Conventions: sections are 0-based indices into the layer as it is; an *insert* mark asks for a new section
before its index and may be repeated; of the other two there is one a section.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array

Treatment = Literal["replace", "insert", "region"]
TREATMENTS: tuple[Treatment, ...] = ("replace", "insert", "region")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One marked section.

    Args:
        section: 0-based index into the layer.
        treatment: replace the section, insert one before it, or replace a region of it.
        origin: why it is here, such as "detected: blank".
        region: [y, x] bool, the damaged pixels of a *region*.
        score: the self-check's figures once it was repaired: psnr, nearest, linear, blurred_linear,
            fitted, beats_floors, n.
        note: how it was treated, once it was repaired.
    """

    section: int
    treatment: Treatment = "replace"
    origin: str = ""
    region: Array | None = field(default=None, compare=False, repr=False)
    score: dict[str, Any] | None = field(default=None, compare=False)
    note: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[int, bool]:
        """What makes two marks the same: the section, and whether it is about a missing one."""
        return (self.section, self.treatment == "insert")


Marks = tuple[Mark, ...]


def check_section(section: int, count: int) -> int:
    """Return ``section`` if the stack has it.

    Raises:
        InputError: outside the stack.
    """
    if not 0 <= section < count:
        raise InputError(f"section {section} is outside the stack, which has sections 0 to {count - 1}")
    return section


def add(marks: Marks, new: Iterable[Mark]) -> Marks:
    """Return the marks with the new ones; a mark that is there already is replaced, but inserts add up."""
    kept = list(marks)
    for mark in new:
        if mark.treatment != "insert":
            kept = [m for m in kept if m.key != mark.key]
        kept.append(mark)
    return ordered(kept)


def ordered(marks: Iterable[Mark]) -> Marks:
    """Return marks by section; what is inserted before a section comes first."""
    return tuple(sorted(marks, key=lambda m: (m.section, m.treatment != "insert")))


def change(marks: Marks, index: int, treatment: Treatment) -> Marks:
    """Return the marks with one treated otherwise; a region becomes a whole section when it is changed."""
    mark = replace(marks[index], treatment=treatment, score=None, note="")
    return add(marks[:index] + marks[index + 1 :], [mark])


def without(marks: Marks, indices: Iterable[int]) -> Marks:
    """Return the marks but those at ``indices``."""
    gone = set(indices)
    return tuple(m for i, m in enumerate(marks) if i not in gone)


def run_around(marks: Marks, section: int) -> list[int]:
    """Return ``section`` and the marked sections that adjoin it without a gap: they are missing together."""
    marked = {m.section for m in marks if m.treatment == "replace"} | {section}
    low = high = section
    while low - 1 in marked:
        low -= 1
    while high + 1 in marked:
        high += 1
    return list(range(low, high + 1))


def scored(marks: Marks, entries: Mapping[tuple[int, bool], dict[str, Any]]) -> Marks:
    """Return the marks with what a result's provenance says of them.

    Args:
        marks: in any state.
        entries: :attr:`Mark.key` -> an entry of provenance["sections"].
    """
    return tuple(
        replace(mark, score=entries[mark.key].get("selfcheck"), note=entries[mark.key].get("note", ""))
        if mark.key in entries
        else mark
        for mark in marks
    )
