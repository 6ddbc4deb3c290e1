"""What super-resolution is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_emsynth.grid import Grid
from napari_emsynth.methods.superres.limits import check_factor, check_number
from napari_emsynth.options import Options, option
from napari_emsynth.spec import MethodSpec


@dataclass(frozen=True, kw_only=True)
class SuperresOptions(Options):
    """How much smaller pixels become.

    Raises:
        InputError: a factor that is neither 8 nor 16.
    """

    factor: int = option(
        8, "By which pixels become smaller: 8 or 16.", metavar="F", positional=True, required=True, word=int
    )
    damaged: Any = option(
        None,
        "Sections that are not looked at when their neighbours are drawn, such as 12,40-42; none for no section; by "
        "default what looks damaged.",
        metavar="LIST", kind="sections", python="They are made finer all the same.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", check_number(self.factor))

    def check_method(self, spec: MethodSpec, grid: Grid) -> None:  # noqa: ARG002 - others ask it
        """Refuse a factor that a method cannot do.

        Raises:
            InputError: it cannot.
        """
        check_factor(spec, self.factor)

    def grid(self, grid: Grid) -> Grid:
        """Return the result's grid: the outer edges of sections stay."""
        return grid.upsample_lateral(self.factor)
