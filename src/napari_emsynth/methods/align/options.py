"""What alignment is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_emsynth.options import Options, option


@dataclass(frozen=True, kw_only=True)
class AlignOptions(Options):
    """By what a stack is aligned, and what the alignment must not do; limits need a method with displacements.

    Raises:
        InputError: a value that no volume could make right.
    """

    max_displacement_nm: float | None = option(
        None, "Move nothing further than F nm.", metavar="F", word=float
    )
    reference: Any = option(
        (), "Sections that stay where they are, such as 12,40-42.", metavar="LIST", kind="sections"
    )
    skip: Any = option(
        None,
        "Sections that nothing is matched with; none for no section; by default what looks damaged.",
        metavar="LIST", kind="sections",
        python="They move as their neighbours do; an empty list says that none is damaged.",
    )  # fmt: skip
