"""What is done to a whole volume and how, one value a task; what it does to the grid and what it is called.

Conventions: a result's section ``j`` lies at the layer's section ``j / scale + offset``; rows and columns keep the
outer edges of sections, whatever their scale; see :class:`VolumeSettings`. The numbers follow the grid laws of
:mod:`napari_emsynth.grid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from napari_emsynth.grid import Shape, Triple
from napari_emsynth.plugin.layers.field_of_view import EDGE
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.sections import parse_sections
from napari_emsynth.spec import Task

# What a user writes to leave the choice of sections to the tool.
DETECTED = "detected"
Keep = Literal["auto", "memory", "file"]


@dataclass(frozen=True, kw_only=True)
class VolumeSettings(MethodSettings):
    """What all tasks on whole volumes share; method "" takes the task's default.

    Args:
        with_uncertainty: add the error estimate as a layer too, where the method has one.
        keep: where a result that is not lazy goes: "memory", "file" (a Zarr file, block by block), or "auto": to
            memory when it is small, else as the user decides when asked.
        **more: see :class:`~napari_emsynth.plugin.widgets.method_settings.MethodSettings`.

    Attributes:
        task: its name, which is also that of its command.
        function: its function's; "" when it is the task's.
        verb: for a progress bar.
        done: for the name of a result.
        least_sections: a volume needs.
        section_scale: sections of the result a section of the layer.
        section_offset: where the result's first section lies, in sections of the layer.
        pixel_scale: rows and columns of the result for each of the layer.
        compares_neighbours: a preview lays neighbouring sections over each other.
        previews_reslices: a preview shows xz and yz too.
        preview_edge: most rows and columns of the layer that a preview shows.
    """

    task: ClassVar[Task]
    function: ClassVar[str] = ""
    verb: ClassVar[str]
    least_sections: ClassVar[int]
    compares_neighbours: ClassVar[bool] = False
    previews_reslices: ClassVar[bool] = True
    preview_edge: ClassVar[int] = EDGE

    with_uncertainty: bool = False
    keep: Keep = "auto"

    @property
    def done(self) -> str:
        """What a result is, in a word or two."""
        raise NotImplementedError

    @property
    def section_scale(self) -> float:
        """Sections of the result for each of the layer."""
        return 1

    @property
    def section_offset(self) -> float:
        """Where the result's first section lies."""
        return 0.0

    @property
    def pixel_scale(self) -> int:
        """Rows and columns of the result for each of the layer."""
        return 1

    @property
    def pixel_offset(self) -> float:
        """Where the result's first row and column lie: outer edges stay."""
        return (1 - self.pixel_scale) / (2 * self.pixel_scale)

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

    def pixels(self, of: slice) -> slice:
        """Return the rows or columns of the result that show the same as some of the layer."""
        return slice(self.pixel_scale * of.start, self.pixel_scale * of.stop)

    def block(self) -> Shape:
        """Return the size of the blocks that a result is drawn in; loads the engine."""
        from napari_emsynth.methods.blocks import EAGER_BLOCK

        return EAGER_BLOCK

    def voxel(self, of: Triple) -> Triple:
        """Return the size (z, y, x) of the result's voxels, in the units of the layer's."""
        z, y, x = of
        return (z / self.section_scale, y / self.pixel_scale, x / self.pixel_scale)

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return self.verb

    def name_of_result(self, name: str) -> str:
        """Return what a result is called."""
        return f"{name} {self.done}"


def listed(text: str, count: int, what: str) -> tuple[int, ...]:
    """Return the numbers that a text lists, in order and once each; none for an empty one.

    Raises:
        InputError: no such list.
    """
    return tuple(sorted(set(parse_sections(text, count, what)))) if text.strip() else ()
