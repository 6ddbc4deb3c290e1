"""How pixels are made smaller, as a user says it.

Conventions: see :mod:`napari_emsynth.plugin.volume_task.settings`; the outer edges of sections stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_emsynth.grid import Shape
from napari_emsynth.plugin.volume_task.settings import DETECTED, VolumeSettings, listed
from napari_emsynth.sections import spans
from napari_emsynth.spec import Task

FACTORS = (8, 16)


@dataclass(frozen=True, kw_only=True)
class SuperresSettings(VolumeSettings):
    """How pixels are made smaller.

    Args:
        factor: by which, 8 or 16.
        damaged: sections that are not looked at when their neighbours are drawn, such as "3,40-42"; "detected" takes
            those that would mislead, "" none.
        **more: see :class:`~napari_emsynth.plugin.volume_task.settings.VolumeSettings`.
    """

    task: ClassVar[Task] = "superres"
    verb: ClassVar[str] = "Super-resolve"
    function: ClassVar[str] = "superresolve"
    least_sections: ClassVar[int] = 1
    preview_edge: ClassVar[int] = 64
    previews_reslices: ClassVar[bool] = False

    factor: int = 8
    damaged: str = DETECTED

    @property
    def done(self) -> str:
        """What a result is."""
        return f"super-resolved x{self.factor}"

    @property
    def pixel_scale(self) -> int:
        """Pixels of the result for each of the layer."""
        return self.factor

    def options(self, sections: int) -> dict[str, Any]:
        """Return the keyword arguments of ``superresolve`` that others do not have.

        Raises:
            InputError: no such list of sections.
        """
        chosen: dict[str, Any] = {"factor": self.factor}
        if self.damaged.strip() != DETECTED:
            chosen["damaged"] = listed(self.damaged, sections, "damaged")
        return chosen

    def flags(self, sections: int) -> list[str]:
        """Return the same as words of ``emsynth superres``."""
        options = self.options(sections)
        words = ["--factor", str(self.factor)]
        if "damaged" in options:
            words += ["--damaged", spans(options["damaged"]) or "none"]
        return words

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result."""
        z, y, x = shape
        return (z, y * self.factor, x * self.factor)

    def block(self) -> Shape:
        """Return the size of the blocks that a result is drawn in; loads the engine."""
        from napari_emsynth.methods.superres.task import EAGER_EDGE

        return (1, EAGER_EDGE * self.factor, EAGER_EDGE * self.factor)

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return f"Super-resolve x{self.factor}"
