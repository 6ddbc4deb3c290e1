"""How a stack is aligned, and what an alignment must not do, as a user writes it.

Conventions: lists of sections are text such as ``12,40-42``, held against the stack only when it is known. Law: what
is at its default is not passed on, so that methods which redraw voxels, and know no limits, run as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from napari_emsynth.plugin.volume_task.settings import DETECTED, VolumeSettings, listed
from napari_emsynth.sections import spans
from napari_emsynth.spec import Task

# Largest label that can be named; a list of all of them still fits into memory.
MOST_LABELS = 2**24


@dataclass(frozen=True, kw_only=True)
class AlignSettings(VolumeSettings):
    """How a stack is aligned.

    Args:
        max_displacement_nm: move nothing further than this; None for no limit.
        reference: sections that stay where they are; "" for none.
        skip: sections that are left out; "detected" leaves out what looks damaged, "" nothing.
        materials: ``unique_id`` of a labels layer that says where the stack may tear; None when all is tissue.
        tears: its labels that mean a fold or a crack.
        ignored: its labels that mean dirt or emptiness.
        **more: see :class:`~napari_emsynth.plugin.widgets.method_settings.MethodSettings`.
    """

    task: ClassVar[Task] = "align"
    verb: ClassVar[str] = "Align"
    least_sections: ClassVar[int] = 2
    compares_neighbours: ClassVar[bool] = True

    max_displacement_nm: float | None = None
    reference: str = ""
    skip: str = DETECTED
    materials: Any = None
    tears: str = "1"
    ignored: str = "2"

    @property
    def done(self) -> str:
        """What a result is."""
        return "aligned"

    def options(self, sections: int) -> dict[str, Any]:
        """Return the keyword arguments of ``align`` that others do not have, but for the materials.

        Raises:
            InputError: no such list of sections.
        """
        chosen: dict[str, Any] = {}
        if self.max_displacement_nm is not None:
            chosen["max_displacement_nm"] = self.max_displacement_nm
        if self.reference.strip():
            chosen["reference"] = listed(self.reference, sections, "reference")
        if self.skip.strip() != DETECTED:
            chosen["skip"] = listed(self.skip, sections, "skip")
        return chosen

    def flags(self, sections: int) -> list[str]:
        """Return the same as words of ``emsynth align``."""
        options = self.options(sections)
        words = []
        if "max_displacement_nm" in options:
            words += ["--max-displacement-nm", f"{options['max_displacement_nm']:g}"]
        for name in ("reference", "skip"):
            if name in options:
                words += [f"--{name}", spans(options[name]) or "none"]
        return words

    def labels(self, what: str) -> list[int]:
        """Return the labels of the materials layer that mean "tears" or "ignored".

        Raises:
            InputError: no such list of numbers.
        """
        return list(listed(getattr(self, what), MOST_LABELS, f"labels that mean {what}"))

    def within(self, sections: slice, count: int) -> AlignSettings:
        """Return the settings for some sections of a stack, numbered from 0.

        Args:
            sections: which.
            count: of the stack.

        Raises:
            InputError: no such list of sections.
        """

        def cut(text: str, what: str) -> str:
            return spans(
                z - sections.start for z in listed(text, count, what) if sections.start <= z < sections.stop
            )

        skip = self.skip if self.skip.strip() == DETECTED else cut(self.skip, "skip")
        return replace(self, reference=cut(self.reference, "reference"), skip=skip)
