"""How a stack is aligned, and what an alignment must not do, as a user writes it.

Conventions: lists of sections are text such as ``12,40-42``, held against the stack only when it is known. Law: what
is at its default is not passed on, so that methods which redraw voxels, and know no limits, run as ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.sections import check_sections
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

    def labels(self, what: str) -> list[int]:
        """Return the labels of the materials layer that mean "tears" or "ignored".

        Raises:
            InputError: no such list of numbers.
        """
        return check_sections(getattr(self, what), MOST_LABELS, f"labels that mean {what}")
