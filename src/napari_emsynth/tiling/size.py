"""How large tiles and batches are, and what a run will need: for the engine and for a form that asks first.

Laws: a tile the user asked for is never exceeded; an image that is only a little larger than a default tile
is done in one go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from napari_emsynth.errors import InputError
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.tiling.plan import plan

# Default core, px: (y, x) and (z, y, x).
TILE_CPU = {2: (512, 512), 3: (32, 192, 192)}
TILE_GPU = {2: (1024, 1024), 3: (64, 320, 320)}
# An axis up to this many default tiles long is not cut.
STRETCH = 1.25
# Input voxels computed together; beyond this a larger batch gains nothing.
BATCH_VOXELS_CPU = 256 * 256
BATCH_VOXELS_GPU = 1 << 22
# Activations alive at once, bytes an input voxel: three float32 maps of 64 channels.
ACTIVATION_BYTES = 3 * 64 * 4.0


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


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run will need.

    Args:
        tiles: how many.
        size: input of one tile, halo included, voxels an axis.
        batch: tiles computed together.
        voxels: computed in all, halos included.
        bytes: memory on the device, and on the CPU beside the volume itself.
    """

    tiles: int
    size: tuple[int, ...]
    batch: int
    voxels: int
    bytes: int

    def __str__(self) -> str:
        amount = (
            f"{self.bytes / 1e9:.1f} GB" if self.bytes >= 1e9 else f"{max(1, round(self.bytes / 1e6))} MB"
        )
        return f"needs ~{amount}"


def estimate(
    shape: Sequence[int],
    *,
    halo: int | Sequence[int],
    runtime: Runtime,
    tile: int | Sequence[int] | None = None,
    multiple: int | Sequence[int] = 1,
    overlap: int | Sequence[int] = 0,
    batch: int | None = None,
    channels: int = 1,
    activation_bytes: float = ACTIVATION_BYTES,
) -> Cost:
    """Return what :func:`~napari_emsynth.tiling.run` will need, without running it.

    Args:
        shape: of the volume, spatial axes only.
        halo: voxels a tile reads beyond its core.
        runtime: as for the run.
        tile: as for the run.
        multiple: as for the run.
        overlap: as for the run.
        batch: as for the run.
        channels: of the input.
        activation_bytes: what the network keeps alive at once, bytes an input voxel.

    Raises:
        InputError: as the run would.
    """
    axes, device = len(shape), resolve(runtime.device)
    tiles = plan(
        shape,
        choose_tile(shape, runtime, device, tile),
        per_axis(halo, axes, "halo"),
        overlap=per_axis(overlap, axes, "overlap"),
        multiple=per_axis(multiple, axes, "multiple"),
    )
    size = tiles[0].size
    together = min(len(tiles), batch or choose_batch(size, device))
    inputs = math.prod(size)
    return Cost(
        tiles=len(tiles),
        size=size,
        batch=together,
        voxels=len(tiles) * inputs,
        bytes=int(together * inputs * (8 * channels + activation_bytes)),
    )
