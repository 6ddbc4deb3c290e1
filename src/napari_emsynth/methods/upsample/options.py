"""What upsampling is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_emsynth.grid import Grid
from napari_emsynth.methods.upsample.lattice import (
    ISOTROPIC,
    Lattice,
    Sampling,
    check_factor,
    check_number,
    check_sampling,
    check_sections,
    isotropic_factor,
)
from napari_emsynth.options import LookName, Options, look_option, option
from napari_emsynth.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class UpsampleOptions(Options):
    """How much thinner sections become, and what they are.

    Raises:
        InputError: a factor outside 2 to 12, an unknown sampling.
    """

    factor: float | str = option(
        2, "Output sections a section, 2 to 12; isotropic for cubic voxels.", metavar="K|isotropic",
        positional=True, required=True, python="Whole or not.",
    )  # fmt: skip
    sampling: Sampling = option(
        "point", "point: sections are thin samples; slab: averages over their thickness.", metavar="KIND", shown=True,
        python="Point keeps every section where it is, and puts new ones between; slab divides every section.",
    )  # fmt: skip
    damaged: Any = option(
        None,
        "Sections repaired first, such as 12,40-42; none for no section; by default blank, black and repeated ones.",
        metavar="LIST", kind="sections",
    )  # fmt: skip
    look: LookName = look_option("Intervals stay those of the mean.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampling(self.sampling)
        if self.factor != ISOTROPIC:
            object.__setattr__(self, "factor", check_number(self.factor))

    def lattice(self, grid: Grid) -> Lattice:
        """Return where the result's sections lie among those of a grid.

        Raises:
            InputError: fewer than 2 sections; "isotropic" without a voxel size, or where it makes no sense.
        """
        factor = isotropic_factor(grid) if isinstance(self.factor, str) else self.factor
        check_sections(grid.shape[0])
        return Lattice(grid.shape[0], check_number(factor), self.sampling)

    def check_method(self, spec: MethodSpec, grid: Grid) -> None:
        """Refuse a factor, also that which makes voxels cubes, or a sampling that a method cannot do.

        Raises:
            InputError: it cannot.
        """
        check_factor(spec, self.lattice(grid).factor, self.sampling)

    def grid(self, grid: Grid) -> Grid:
        """Return the result's grid: point sampling keeps section centres, slab sampling faces.

        Raises:
            InputError: see :meth:`lattice`.
        """
        return self.lattice(grid).grid(grid)
