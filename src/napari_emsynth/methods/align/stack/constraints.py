"""What an alignment must not do: go too far, move the reference, trust damaged sections, tear what does not tear."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array, Volume

# What a materials volume says of a voxel.
TISSUE, TEARS, IGNORED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Limits of an alignment.

    Args:
        max_displacement_nm: move nothing further than this; None for no limit.
        reference: sections that stay where they are.
        skip: sections that nothing is registered onto, and whose field is taken from their neighbours; None leaves
            out what looks damaged.
        materials: uint8 [z, y, x] of the stack's shape: 0 tissue, 1 fold or crack (may tear), 2 dirt or empty
            (ignored); None when all is tissue.
    """

    max_displacement_nm: float | None = None
    reference: tuple[int, ...] = ()
    skip: tuple[int, ...] | None = None
    materials: Volume | None = None

    def check(self, volume: Volume) -> None:
        """Hold the limits against a volume.

        Raises:
            InputError: a limit that is not positive or needs a voxel size, sections that do not exist, materials of
                another shape or with other values.
        """
        self._check_limit(volume)
        for what, sections in (("reference", self.reference), ("skip", self.skip or ())):
            for z in sections:
                if not 0 <= z < volume.shape[0]:
                    raise InputError(f"{what} section {z} does not exist: sections are 0 to {volume.shape[0] - 1}")
        both = set(self.reference) & set(self.skip or ())
        if both:
            raise InputError(f"section {min(both)} cannot be both a reference and skipped")
        if self.materials is not None and self.materials.shape != volume.shape:
            raise InputError(
                f"materials of shape {self.materials.shape} voxels do not fit the stack of {volume.shape} voxels"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what a provenance record says of the limits."""
        return {
            "max_displacement_nm": self.max_displacement_nm,
            "reference": list(self.reference),
            "skip": None if self.skip is None else list(self.skip),
            "materials": None if self.materials is None else self.materials.name or "given",
        }

    def _check_limit(self, volume: Volume) -> None:
        limit = self.max_displacement_nm
        if limit is None:
            return
        if not (math.isfinite(limit) and limit > 0):
            raise InputError(f"largest displacement of {limit:g} nm must be a number above 0 nm")
        if volume.grid.voxel_nm is None:
            raise InputError(f"a largest displacement of {limit:g} nm needs the voxel size, which is unknown")

    def material(self, section: int) -> Array | None:
        """Return what a section is made of, [y, x]; None when all is tissue.

        Raises:
            InputError: values other than 0, 1 and 2.
        """
        if self.materials is None:
            return None
        found = self.materials.section(section)
        if found.size and (found.max() > IGNORED or found.min() < TISSUE):
            raise InputError(
                f"materials hold the value {int(found.max())} in section {section}; known are 0 tissue, "
                "1 fold or crack, 2 dirt or empty"
            )
        return found
