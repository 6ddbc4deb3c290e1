"""Parameters that every method answering with displacements has."""

from __future__ import annotations

from dataclasses import dataclass

from napari_emsynth.params import Params, param


@dataclass(frozen=True, kw_only=True)
class FieldParams(Params):
    """How many neighbours are asked, and how fine the field is."""

    neighbours: int = param(
        3, "How many sections before it each section is compared with.", unit="sections", low=1, high=5
    )
    step_px: int = param(
        16, "Distance of the field's nodes.", unit="px", low=4, high=128, step=4, advanced=True
    )
