"""What to give up, in which order, when memory runs out: batch, tile size, precision, then the GPU.

Laws: each step uses less memory than the one before (or another memory); there are finitely many; every step is
a line the user reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from napari_emsynth.tiling.device import precision_name

# Below this core size (px along any axis) halos cost more than they save.
SMALLEST_TILE = 32

# What a RuntimeError says when it is about memory: the CPU's allocator, cuDNN, cuBLAS and MPS have no type.
_PHRASES = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Fallback:
    """One way to compute; what follows it takes less memory.

    Args:
        device: where.
        dtype: of autocast; float32 switches it off.
        tile: largest core, one number a spatial axis.
        batch: tiles computed together.
    """

    device: torch.device
    dtype: torch.dtype
    tile: tuple[int, ...]
    batch: int


def is_out_of_memory(error: BaseException) -> bool:
    """True when an exception means that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


def next_fallback(now: Fallback, start: Fallback) -> tuple[Fallback, str] | None:
    """Return what to try after ``now`` ran out of memory and the line that says so, or None at the end.

    Args:
        now: what failed.
        start: what the run began with; its tile is the one the CPU starts over with.
    """
    said = f"out of memory on {now.device}"
    if now.batch > 1:
        return replace(now, batch=1), f"{said}: computing one tile at a time instead of {now.batch}"
    if max(now.tile) > SMALLEST_TILE:
        tile = tuple(max(min(n, SMALLEST_TILE), n // 2) for n in now.tile)
        return replace(now, tile=tile), f"{said}: smaller tiles, {_size(tile)} instead of {_size(now.tile)} px"
    if now.device.type == "cpu":
        return None
    if now.dtype == torch.float32:
        return replace(now, dtype=torch.float16), f"{said}: half precision, fp16 instead of {precision_name(now.dtype)}"
    cpu = Fallback(torch.device("cpu"), torch.float32, start.tile, 1)
    return cpu, f"{said} with the smallest tiles: computing on the CPU, which is slower"


def _size(tile: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in tile)
