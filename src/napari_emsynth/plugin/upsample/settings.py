"""How sections are made thinner, as a user says it.

Conventions: see :mod:`napari_emsynth.plugin.volume_task.settings`; section ``j`` of the result lies at ``j / k`` of the
layer under point sampling and at ``(j + 1/2) / k - 1/2`` under slab sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from napari_emsynth.grid import Grid
from napari_emsynth.methods.upsample.lattice import ISOTROPIC, Lattice
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.options import DETECTED, LookName, Options
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.spec import Task


@dataclass(frozen=True, kw_only=True)
class UpsampleSettings(VolumeSettings):
    """How sections are made thinner.

    Args:
        factor: sections of the result for each of the layer.
        isotropic: the factor is the one that makes the layer's voxels cubes.
        sampling: "point" when each section is a thin sample, "slab" when it is an average over its thickness.
        damaged: sections that are repaired first, such as "3,40-42"; "detected" takes those that are damaged beyond
            doubt, "" none.
        look: "accurate" or "natural".
        **more: see :class:`~napari_emsynth.plugin.volume_task.settings.VolumeSettings`.
    """

    task: ClassVar[Task] = "upsample"
    verb: ClassVar[str] = "Upsample"
    least_sections: ClassVar[int] = 2

    factor: float = float(UpsampleOptions.factor)
    isotropic: bool = False
    sampling: str = UpsampleOptions.sampling
    damaged: str = DETECTED
    look: LookName = UpsampleOptions.look

    @property
    def done(self) -> str:
        """What a result is."""
        return f"upsampled x{self.factor:.3g}"

    def numbers(self) -> UpsampleOptions:
        """Return what the task is asked, with the factor as a number."""
        known = super().numbers()
        assert isinstance(known, UpsampleOptions)
        return known

    def asked(self) -> Options:
        """Return what the task is asked; cubic voxels by their name, so that the engine finds the factor."""
        return replace(self.numbers(), factor=ISOTROPIC) if self.isotropic else self.numbers()

    def lattice(self, count: int) -> Lattice:
        """Return where the result's sections lie among so many of the layer."""
        return self.numbers().lattice(Grid(shape=(count, 1, 1)))

    def sections(self, of: slice) -> slice:
        """Return the sections of the result that show the same as some of the layer."""
        return self.lattice(max(2, of.stop)).showing(of)

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return f"Upsample x{self.factor:.3g}"
