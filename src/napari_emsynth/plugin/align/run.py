"""Alignments upon alignments, and what a labels layer says of the tissue; free of Qt and napari.

Laws: a stack that is aligned again is drawn once, from the voxels that were acquired, through both fields in one; what
was made up before moves along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.restore.request import lazy
from napari_emsynth.plugin.volume_task.run import Previous, VolumeOutcome
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Array, Volume

# What a materials volume says of a voxel.
TEARS, IGNORED = 1, 2


@dataclass(frozen=True, kw_only=True)
class Earlier(Previous):
    """What is known of a layer that is aligned once more.

    Args:
        synthetic: [z, y, x] mask of what was made up in ``original``, before anything was aligned; None for nothing.
        provenance: of the layer.
        field: that made the layer of ``original``; None when it was not made by one.
        original: the voxels; None without a field.
    """

    field: Any = None
    original: Volume | None = None

    @classmethod
    def of(cls, outcome: VolumeOutcome) -> Earlier:
        """Take it from an alignment that is shown."""
        before = outcome.previous
        return cls(
            synthetic=None if before is None else before.synthetic,
            provenance=outcome.result.provenance,
            field=outcome.result.displacement,
            original=outcome.source,
        )

    @property
    def draws(self) -> bool:
        """True when there is an original to draw from."""
        return self.field is not None

    def source(self, volume: Volume) -> Volume:
        """Return the voxels that a result upon this one is drawn from."""
        return volume if self.original is None else self.original

    def under(self, result: Result, settings: VolumeSettings) -> Result:
        """Return the result drawn from the original, with what was made up before moved along and marked."""
        if result.displacement is None:
            return super().under(result, settings)
        from napari_emsynth.methods.align.stack.carry import marked, upon

        asked = result.volume
        if self.field is not None and self.original is not None:
            result = upon(lazy(self.original), self.field, result)
        earlier = None if self.synthetic is None else Volume.of(self.synthetic)
        return replace(
            marked(result, earlier),
            volume=replace(result.volume, grid=asked.grid, name=asked.name),
            provenance={**result.provenance, "previous": self.provenance},
        )


def materials_of(labels: Volume, shape: tuple[int, int, int], tears: list[int], ignored: list[int]) -> Volume:
    """Return what the tissue is made of: uint8, 0 tissue, 1 where it may tear, 2 where it is not looked at.

    Args:
        labels: [z, y, x] integers.
        shape: of the stack.
        tears: labels that mean a fold or a crack.
        ignored: labels that mean dirt or emptiness.

    Raises:
        InputError: labels of another shape, one label that means both.
    """
    if labels.shape != shape:
        raise InputError(
            f"materials {labels.name!r} have {labels.shape} voxels; they need the stack's {shape} voxels"
        )
    both = set(tears) & set(ignored)
    if both:
        raise InputError(f"label {min(both)} of {labels.name!r} cannot mean both a fold and dirt")

    def material(block: Array) -> Array:
        found = np.zeros(block.shape, np.uint8)
        found[np.isin(block, tears)] = TEARS
        found[np.isin(block, ignored)] = IGNORED
        return found

    stack = lazy(labels)
    return replace(stack, data=stack.data.map_blocks(material, dtype=np.uint8), grid=labels.grid)


def tested(
    volume: Volume, settings: AlignSettings, skip: Sequence[int] | None, runtime: Runtime
) -> dict[str, Any]:
    """Return the self-test of the chosen method on a volume, as JSON.

    Args:
        volume: the layer's.
        settings: method, weights, parameters.
        skip: sections that are left out; None for what looks damaged.
        runtime: device, progress, cancel.

    Raises:
        InputError: a method that redraws, sections too small, nothing to test on.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods import default
    from napari_emsynth.methods.align.scoring.selftest import self_test
    from napari_emsynth.methods.request import Request

    request = Request.of(
        "align",
        volume,
        settings.method or default("align"),
        weights=settings.weights or None,
        params=dict(settings.params),
        voxel_nm=None,
        runtime=runtime,
    )
    return self_test(request, skip=skip).to_json()
