"""Parameters that every method answering with displacements has."""

from __future__ import annotations

from dataclasses import dataclass

from napari_emsynth.methods.align.stack.solve import Prior
from napari_emsynth.params import Params, param

# Rigidity is stated for nodes this far apart, px.
STIFFNESS_STEP_PX = 16.0


@dataclass(frozen=True, kw_only=True)
class FieldParams(Params):
    """How many neighbours are asked, and how fine the field is."""

    neighbours: int = param(
        3, "How many sections before it each section is compared with.", unit="sections", low=1, high=5
    )
    step_px: int = param(16, "Distance of the field's nodes.", unit="px", low=4, high=128, step=4, advanced=True)


@dataclass(frozen=True, kw_only=True)
class SolvedParams(FieldParams):
    """Parameters of methods whose pairs the stack solver combines."""

    rigidity: float = param(
        7.0, "How stiff sections are in plane: larger forbids local warps.", low=0.01, high=10_000.0, step=1.0,
        advanced=True,
    )  # fmt: skip
    drift: float = param(
        3.0, "How readily slow drift along z is taken for tissue and kept: smaller keeps more.", low=0.001,
        high=1000.0, step=0.1, advanced=True,
    )  # fmt: skip
    leave_px: float = param(
        0.6, "Sections whose distortion is below this are left alone: tissue wobbles by itself.", unit="px",
        low=0.0, high=10.0, step=0.1, advanced=True,
    )  # fmt: skip

    def prior(self, node_px: tuple[float, float]) -> Prior:
        """Return the solver's prior for nodes so many px apart; its springs do not depend on the nodes."""
        apart = (node_px[0] * node_px[1]) ** 0.5 / STIFFNESS_STEP_PX
        return Prior(bend=self.rigidity / apart**4, steady=self.drift)
