"""What interpolation is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.options import LookName, Options, look_option, option


@dataclass(frozen=True, kw_only=True)
class InterpolateOptions(Options):
    """Which sections are replaced or inserted, and how.

    Raises:
        InputError: a value that no volume could make right.
    """

    sections: Any = option(
        None, "0-based, such as 12,40-42; with --insert a section goes before each.", metavar="LIST",
        kind="sections", positional=True, python="An index given twice inserts two.",
    )  # fmt: skip
    insert: bool = option(False, "Add sections instead of replacing them.", kind="switch")
    look: LookName = look_option("The seed chooses the neighbour; the uncertainty is that of the mean.")

    def grid(self, grid: Grid) -> Grid:
        """Return the result's grid: inserted sections keep the centres of the others.

        Raises:
            InputError: a section outside the stack.
        """
        sections = self.listed("sections", grid.shape[0]) or ()
        return grid.insert_sections(len(sections)) if self.insert else grid

    def check_mask(self) -> None:
        """Refuse a mask where sections are inserted.

        Raises:
            InputError: they are.
        """
        if self.insert:
            raise InputError(
                "a mask replaces voxels of existing sections; it cannot be used when sections are inserted"
            )
