"""What is done to a whole volume and how, one value a task; what it does to the grid and what it is called.

Conventions: a result's section ``j`` lies at the layer's section ``j / factor + offset``, see
:class:`VolumeSettings`. The numbers follow the grid laws of :mod:`napari_emsynth.grid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_emsynth.grid import Shape
from napari_emsynth.plugin.method_settings import MethodSettings
from napari_emsynth.spec import Task

LOWEST, HIGHEST = 2, 12


@dataclass(frozen=True, kw_only=True)
class VolumeSettings(MethodSettings):
    """What all tasks on whole volumes share; method "" takes the task's default.

    Attributes:
        task: its name, which is also that of its function and its command.
        verb: for a progress bar.
        done: for the name of a result.
        least_sections: a volume needs.
        section_scale: sections of the result a section of the layer.
        section_offset: where the result's first section lies, in sections of the layer.
        compares_neighbours: a preview lays neighbouring sections over each other.
    """

    task: ClassVar[Task]
    verb: ClassVar[str]
    least_sections: ClassVar[int]
    compares_neighbours: ClassVar[bool] = False

    @property
    def done(self) -> str:
        """What a result is, in a word or two."""
        raise NotImplementedError

    @property
    def section_scale(self) -> int:
        """Sections of the result for each of the layer."""
        return 1

    @property
    def section_offset(self) -> float:
        """Where the result's first section lies."""
        return 0.0

    def options(self, sections: int) -> dict[str, Any]:  # noqa: ARG002 - what a user wrote may depend on it
        """Return the keyword arguments of the task's function that others do not have.

        Args:
            sections: of the volume.

        Raises:
            InputError: what the user wrote does not fit such a volume.
        """
        return {}

    def flags(self, sections: int) -> list[str]:  # noqa: ARG002 - see options
        """Return the same as words of its command."""
        return []

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result."""
        return shape

    def sections(self, of: slice) -> slice:
        """Return the sections of the result that show the same as some of the layer."""
        return of

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return self.verb

    def name_of_result(self, name: str) -> str:
        """Return what a result is called."""
        return f"{name} {self.done}"


@dataclass(frozen=True, kw_only=True)
class UpsampleSettings(VolumeSettings):
    """How sections are made thinner.

    Args:
        factor: sections of the result for each of the layer.
        sampling: "point" when each section is a thin sample, "slab" when it is an average over its thickness.
        **more: see :class:`MethodSettings`.
    """

    task: ClassVar[Task] = "upsample"
    verb: ClassVar[str] = "Upsample"
    least_sections: ClassVar[int] = 2

    factor: int = 2
    sampling: str = "point"

    @property
    def done(self) -> str:
        """What a result is."""
        return f"upsampled x{self.factor}"

    @property
    def section_scale(self) -> int:
        """Sections of the result for each of the layer."""
        return self.factor

    @property
    def section_offset(self) -> float:
        """Point sampling keeps centres, slab sampling keeps faces."""
        return 0.0 if self.sampling == "point" else (1 - self.factor) / (2 * self.factor)

    def options(self, sections: int) -> dict[str, Any]:  # noqa: ARG002 - the common signature
        """Return the keyword arguments of ``upsample`` that others do not have."""
        return {"factor": self.factor, "sampling": self.sampling}

    def flags(self, sections: int) -> list[str]:  # noqa: ARG002 - the common signature
        """Return the same as words of ``emsynth upsample``."""
        return ["--factor", str(self.factor), "--sampling", self.sampling]

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result."""
        sections = self.sections(slice(0, shape[0]))
        return (sections.stop, *shape[1:])

    def sections(self, of: slice) -> slice:
        """Return the sections of the result that show the same as some of the layer."""
        if self.sampling == "point":
            return slice(of.start * self.factor, (of.stop - 1) * self.factor + 1)
        return slice(of.start * self.factor, of.stop * self.factor)

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return f"Upsample x{self.factor}"
