"""How pixels are made smaller, as a user says it.

Conventions: see :mod:`napari_emsynth.plugin.volume_task.settings`; the outer edges of sections stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from napari_emsynth.grid import Shape
from napari_emsynth.methods.superres.options import SuperresOptions
from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.spec import Task


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
    least_sections: ClassVar[int] = 1
    preview_edge: ClassVar[int] = 64
    previews_reslices: ClassVar[bool] = False

    factor: int = SuperresOptions.factor
    damaged: str = DETECTED

    @property
    def done(self) -> str:
        """What a result is."""
        return f"super-resolved x{self.factor}"

    def block(self) -> Shape:
        """Return the size of the blocks that a result is drawn in; loads the engine."""
        from napari_emsynth.methods.superres.task import EAGER_EDGE

        return (1, EAGER_EDGE * self.factor, EAGER_EDGE * self.factor)

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return f"Super-resolve x{self.factor}"
