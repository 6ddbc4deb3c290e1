"""How large tiles and batches are.

Laws: a tile the user asked for is never exceeded; an image that is only a little larger than a default tile
is done in one go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from napari_emsynth.errors import InputError
from napari_emsynth.spec import Runtime

# Default core, px: (y, x) and (z, y, x).
TILE_CPU = {2: (512, 512), 3: (32, 192, 192)}
TILE_GPU = {2: (1024, 1024), 3: (64, 320, 320)}
# An axis up to this many default tiles long is not cut.
STRETCH = 1.25
# Input voxels computed together; beyond this a larger batch gains nothing.
BATCH_VOXELS_CPU = 256 * 256
BATCH_VOXELS_GPU = 1 << 22


def per_axis(value: int | Sequence[int], axes: int, name: str) -> tuple[int, ...]:
    """Return one number an axis; a single number holds for all.

    Raises:
        InputError: a sequence of another length.
    """
    values = (value,) * axes if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != axes:
        raise InputError(f"{name} {values} has {len(values)} numbers, needs {axes}: one an axis")
    return values


def choose_tile(
    shape: Sequence[int], runtime: Runtime, device: torch.device, tile: int | Sequence[int] | None = None
) -> tuple[int, ...]:
    """Return the largest core [*spatial]: the user's edge along y and x, else the method's, else the default.

    No axis is longer than the volume's.

    Args:
        shape: of the volume, spatial axes only.
        runtime: its ``tile`` is the user's wish.
        device: GPUs get larger tiles.
        tile: the method's wish.

    Raises:
        InputError: the user's tile is below 1 px.
    """
    axes = len(shape)
    if runtime.tile is not None and runtime.tile < 1:
        raise InputError(f"tile {runtime.tile} px is below the limit of 1 px")
    if tile is not None:
        chosen = per_axis(tile, axes, "tile")
    else:
        default = (TILE_CPU if device.type == "cpu" else TILE_GPU).get(axes, (512,) * axes)
        chosen = tuple(n if n <= STRETCH * t else t for n, t in zip(shape, default, strict=True))
    if runtime.tile is not None:
        chosen = (*chosen[:-2], *(runtime.tile,) * min(2, axes))
    return tuple(min(n, t) for n, t in zip(shape, chosen, strict=True))


def choose_batch(size: Sequence[int], device: torch.device) -> int:
    """Return how many tiles of input ``size`` are computed together."""
    budget = BATCH_VOXELS_CPU if device.type == "cpu" else BATCH_VOXELS_GPU
    return max(1, budget // math.prod(size))
