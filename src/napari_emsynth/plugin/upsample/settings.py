"""How sections are made thinner, as a user says it.

Conventions: see :mod:`napari_emsynth.plugin.volume_task.settings`; section ``j`` of the result lies at ``j / k`` of the
layer under point sampling and at ``(j + 1/2) / k - 1/2`` under slab sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape, Triple
from napari_emsynth.plugin.volume_task.settings import DETECTED, VolumeSettings, listed
from napari_emsynth.sections import spans
from napari_emsynth.spec import Task

LOWEST, HIGHEST = 2.0, 12.0
ISOTROPIC = "isotropic"
# A product of a fractional factor must not gain or lose a section by rounding.
SLACK = 1e-6


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

    factor: float = 2.0
    isotropic: bool = False
    sampling: str = "point"
    damaged: str = DETECTED
    look: str = "accurate"

    @property
    def done(self) -> str:
        """What a result is."""
        return f"upsampled x{self.factor:.3g}"

    @property
    def section_scale(self) -> float:
        """Sections of the result for each of the layer."""
        return self.factor

    @property
    def section_offset(self) -> float:
        """Point sampling keeps centres, slab sampling keeps faces."""
        return 0.0 if self.sampling == "point" else (1 - self.factor) / (2 * self.factor)

    def options(self, sections: int) -> dict[str, Any]:
        """Return the keyword arguments of ``upsample`` that others do not have.

        Raises:
            InputError: no such list of sections.
        """
        chosen: dict[str, Any] = {
            "factor": ISOTROPIC if self.isotropic else number(self.factor),
            "sampling": self.sampling,
        }
        if self.damaged.strip() != DETECTED:
            chosen["damaged"] = listed(self.damaged, sections, "damaged")
        if self.look != "accurate":
            chosen["look"] = self.look
        return chosen

    def flags(self, sections: int) -> list[str]:
        """Return the same as words of ``emsynth upsample``."""
        options = self.options(sections)
        words = ["--factor", str(options["factor"]), "--sampling", self.sampling]
        if "damaged" in options:
            words += ["--damaged", spans(options["damaged"]) or "none"]
        if "look" in options:
            words += ["--look", self.look]
        return words

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of the result."""
        return (self.sections(slice(0, shape[0])).stop, *shape[1:])

    def sections(self, of: slice) -> slice:
        """Return the sections of the result that show the same as some of the layer."""
        k = self.factor
        if self.sampling == "point":
            return slice(math.ceil(of.start * k - SLACK), math.floor((of.stop - 1) * k + SLACK) + 1)
        return slice(math.ceil(of.start * k - SLACK), math.floor(of.stop * k + SLACK))

    def title(self) -> str:
        """Return a few words for a progress bar and the history."""
        return f"Upsample x{self.factor:.3g}"


def number(factor: float) -> float:
    """Return a whole factor as an integer, which reads better in code and records."""
    return int(factor) if factor == int(factor) else factor


def check_range(factor: float) -> None:
    """Refuse a factor that no method does; what users type is told as they type it.

    Raises:
        InputError: not a number, or outside 2 to 12.
    """
    if not LOWEST <= factor <= HIGHEST:
        raise InputError(f"factor {factor:g} is outside {LOWEST:g} to {HIGHEST:g} output sections a section")


def isotropic_factor(voxel_nm: Triple | None) -> float:
    """Return the factor that makes voxels as high as they are wide; loads the engine.

    Args:
        voxel_nm: size (z, y, x); None when it is unknown.

    Raises:
        InputError: an unknown size, voxels that are cubes already, or too drawn out.
    """
    from napari_emsynth.methods.upsample.lattice import isotropic_factor as rule

    return rule(Grid(shape=(1, 1, 1), voxel_nm=voxel_nm))
