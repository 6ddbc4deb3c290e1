"""What is known of a stack before anything of it is registered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.params import FieldParams
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.pair import Nodes
from napari_emsynth.methods.request import Request
from napari_emsynth.trust.detect import examine
from napari_emsynth.trust.features import Features
from napari_emsynth.trust.intact import MOST
from napari_emsynth.trust.rules import RELIABLE, Kind
from napari_emsynth.volume import Float

# What is left out unless the user says otherwise. Displaced and repeated sections can be aligned; so can blurred ones.
LEFT_OUT: tuple[Kind, ...] = ("missing", "blank", "saturated", "inverted", "half-missing")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is known before anything is registered.

    Args:
        request: volume, method, and how to compute.
        constraints: limits.
        nodes: of the fields, along y and x.
        skipped: why sections are left out.
        features: of every section; for the shifts between them.
    """

    request: Request
    constraints: Constraints
    nodes: Nodes
    skipped: dict[int, str]
    features: Sequence[Features]

    @classmethod
    def of(cls, request: Request, constraints: Constraints) -> Plan:
        """Look the stack over once.

        Raises:
            InputError: constraints that do not fit the volume.
        """
        constraints.check(request.volume)
        suspects, features = examine(request.volume, cancel=request.runtime.cancel)
        if constraints.skip is None:
            skipped = {s.section: f"{s.kind}: {s.detail}" for s in suspects if s.kind in LEFT_OUT}
            skipped = {z: why for z, why in skipped.items() if z not in constraints.reference}
            if len(skipped) > MOST * request.volume.shape[0]:
                # As good as certainly a false alarm.
                skipped = {}
        else:
            skipped = dict.fromkeys(constraints.skip, "left out as asked")
        return cls(request, constraints, nodes_of(request), skipped, features)

    @property
    def params(self) -> FieldParams:
        """The method's."""
        assert isinstance(self.request.params, FieldParams)
        return self.request.params

    @property
    def count(self) -> int:
        """Sections of the stack."""
        return int(self.request.volume.shape[0])

    @property
    def usable(self) -> list[int]:
        """Sections that are not left out."""
        return [z for z in range(self.count) if z not in self.skipped]

    @property
    def node_px(self) -> tuple[float, float]:
        """Distance of the nodes, px."""
        _, y, x = self.request.volume.shape
        return y / self.nodes[0], x / self.nodes[1]

    def shift(self, section: int, onto: int) -> tuple[float, float]:
        """Return the shift (dy, dx) px of a section against an earlier one, 0 where it cannot be told."""
        if section < onto:
            dy, dx = self.shift(onto, section)
            return -dy, -dx
        for match in self.features[section].matches:
            if match.step == section - onto and match.quality >= RELIABLE:
                return match.dy, match.dx
        return 0.0, 0.0

    def displacement(self, data: Float) -> Displacement:
        """Return nodes [z, 2, y', x'] of all sections, or of some, as their field, no vector beyond the limit."""
        grid = self.request.volume.grid
        field = Displacement(data, (len(data), *grid.shape[1:]), grid.voxel_nm)
        limit = self.constraints.max_displacement_nm
        return field if limit is None else field.limited(limit)


def nodes_of(request: Request) -> Nodes:
    """Return how many nodes a method's fields have on a volume, along y and x."""
    assert isinstance(request.params, FieldParams)
    step = request.params.step_px
    return math.ceil(request.volume.shape[1] / step), math.ceil(request.volume.shape[2] / step)
