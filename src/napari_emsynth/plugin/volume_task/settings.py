"""What is done to a whole volume and how, one value a task; what it does to the grid and what it is called.

Conventions: what a task is asked, and what it does to a grid, is said by its options; these add what the viewer needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from napari_emsynth.grid import Grid, Shape, Triple
from napari_emsynth.methods.tasks import options_of
from napari_emsynth.options import Options
from napari_emsynth.plugin.layers.field_of_view import EDGE
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.spec import Task

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
        verb: for a progress bar.
        done: for the name of a result.
        least_sections: a volume needs.
        compares_neighbours: a preview lays neighbouring sections over each other.
        previews_reslices: a preview shows xz and yz too.
        preview_edge: most rows and columns of the layer that a preview shows.
    """

    task: ClassVar[Task]
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

    def numbers(self) -> Options:
        """Return what the task is asked, with nothing left that only a voxel size tells.

        Raises:
            InputError: a value that no volume could make right.
        """
        cls = options_of(self.task)
        own = {known.name: getattr(self, known.name) for known in cls.fields()}
        return cls(**own | {"method": self.method or None, "weights": self.weights or None})

    def asked(self) -> Options:
        """Return what the task is asked, as the user said it."""
        return self.numbers()

    def on(self, shape: Shape = (2, 1, 1)) -> Grid:
        """Return the result's grid, in voxels of the layer."""
        return self.numbers().grid(Grid(shape=shape, voxel_nm=(1.0, 1.0, 1.0)))

    @property
    def offset(self) -> Triple:
        """Where the centre of the result's first voxel lies, in voxels of the layer."""
        return self.on().origin_nm

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result."""
        return self.on(shape).shape

    def sections(self, of: slice) -> slice:
        """Return the sections of the result that show the same as some of the layer."""
        return of

    def pixels(self, of: slice) -> slice:
        """Return the rows or columns of the result that show the same as some of the layer."""
        scale = round(1 / self.voxel((1.0, 1.0, 1.0))[1])
        return slice(scale * of.start, scale * of.stop)

    def voxel(self, of: Triple) -> Triple:
        """Return the size (z, y, x) of the result's voxels, in the units of the layer's."""
        known = self.on().voxel_nm
        assert known is not None
        return (known[0] * of[0], known[1] * of[1], known[2] * of[2])

    def block(self) -> Shape:
        """Return the size of the blocks that a result is drawn in; loads the engine."""
        from napari_emsynth.methods.blocks import EAGER_BLOCK

        return EAGER_BLOCK

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return self.verb

    def name_of_result(self, name: str) -> str:
        """Return what a result is called."""
        return f"{name} {self.done}"
