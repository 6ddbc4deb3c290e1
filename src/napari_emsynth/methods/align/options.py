"""What alignment is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from napari_emsynth.options import Options, option


@dataclass(frozen=True, kw_only=True)
class AlignOptions(Options):
    """By what a stack is aligned, and what the alignment must not do; limits need a method with displacements.

    Raises:
        InputError: a value that no volume could make right.
    """

    max_displacement_nm: float | None = option(None, "Move nothing further than F nm.", metavar="F", word=float)
    reference: Any = option((), "Sections that stay where they are, such as 12,40-42.", metavar="LIST", kind="sections")
    skip: Any = option(
        None,
        "Sections that nothing is matched with; none for no section; by default what looks damaged.",
        metavar="LIST", kind="sections",
        python="They move as their neighbours do; an empty list says that none is damaged.",
    )  # fmt: skip

    def within(self, sections: slice, count: int) -> AlignOptions:
        """Return the options for some sections of a stack, numbered from 0, without a self-check.

        Args:
            sections: which.
            count: of the stack.

        Raises:
            InputError: no such list of sections.
        """

        def cut(name: str) -> tuple[int, ...] | None:
            listed = self.listed(name, count)
            inside = range(sections.start, sections.stop)
            return None if listed is None else tuple(z - sections.start for z in listed if z in inside)

        return replace(self, reference=cut("reference"), skip=cut("skip"), selfcheck=False)
