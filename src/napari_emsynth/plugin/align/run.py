"""What a labels layer says of the tissue, and the self-test of an alignment; free of Qt and napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods.in_memory import by_section
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

# What a materials volume says of a voxel.
TEARS, IGNORED = 1, 2


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
        raise InputError(f"materials {labels.name!r} have {labels.shape} voxels; they need the stack's {shape} voxels")
    both = set(tears) & set(ignored)
    if both:
        raise InputError(f"label {min(both)} of {labels.name!r} cannot mean both a fold and dirt")

    def material(block: Array) -> Array:
        found = np.zeros(block.shape, np.uint8)
        found[np.isin(block, tears)] = TEARS
        found[np.isin(block, ignored)] = IGNORED
        return found

    stack = by_section(labels)
    return replace(stack, data=stack.data.map_blocks(material, dtype=np.uint8), grid=labels.grid)


def tested(volume: Volume, settings: AlignSettings, skip: Sequence[int] | None, runtime: Runtime) -> dict[str, Any]:
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
        runtime=runtime,
    )
    return self_test(request, skip=skip).to_json()
