"""How a method is run, whatever it is asked to do: the part of the settings that all docks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_emsynth.params import Value


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """How something is computed, and what is added to the viewer.

    Args:
        method: id of a method.
        weights: bundled name or file; "" takes the method's default.
        params: of the method; what is absent takes its default.
        device, precision, tile, seed: as in :class:`~napari_emsynth.spec.Runtime`; tile 0 lets the engine
            choose.
        selfcheck: repeat the work where the truth is known and report the error.
        lazy: compute a section only when it is shown.
        with_mask: add the mask of what was made up as a layer too.
    """

    method: str = ""
    weights: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    device: str = "auto"
    precision: str = "auto"
    tile: int = 0
    seed: int = 0
    selfcheck: bool = True
    lazy: bool = False
    with_mask: bool = True

    def runtime_options(self) -> dict[str, Any]:
        """Return the part that a Runtime takes."""
        return {
            "device": self.device, "precision": self.precision, "tile": self.tile or None, "seed": self.seed,
        }  # fmt: skip
