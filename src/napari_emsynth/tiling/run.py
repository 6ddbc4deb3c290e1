"""Tiles -> device -> one array: the one loop every network of this package runs in.

Conventions: arrays are [c, *spatial] float32 with spatial = (y, x) or (z, y, x); the fn sees [b, c, *spatial]
on the device and answers [b, c', *spatial], or smaller by twice the halo along any axis ('valid' networks).

Laws: when the halo covers the fn's receptive field, tiled equals whole; the result depends on the seed, not
on the order of anything; nothing of the source is changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.device import resolve, resolve_precision
from napari_emsynth.tiling.oom_fallback import Fallback, is_out_of_memory, next_fallback
from napari_emsynth.tiling.plan import Faces, Slices, Tile, plan
from napari_emsynth.tiling.size import choose_batch, choose_tile, per_axis
from napari_emsynth.tiling.transfer import DeviceTransfer, Ticket, channels_last, transfer_for
from napari_emsynth.volume import Float

Fn = Callable[[Tensor], Tensor]
"""[b, c, *size] float32 on the device -> [b, c', *size or size - 2 halo]."""


def run(
    fn: Fn,
    source: Float,
    *,
    halo: int | Sequence[int],
    runtime: Runtime,
    tile: int | Sequence[int] | None = None,
    multiple: int | Sequence[int] = 1,
    batch: int | None = None,
    out_channels: int | None = None,
    faces: Faces = "reflect",
) -> Float:
    """Compute ``fn`` over a volume of any size, tile by tile.

    Args:
        fn: [b, c, *size] float32 -> [b, c', *size] or [b, c', *(size - 2 halo)] (decided axis by axis). A
            module, in eval mode, or anything else with ``to(device)`` is moved to the device; other callables
            find the device on their input. It may change its input.
        source: [c, *spatial] float32.
        halo: voxels a tile reads beyond what it computes; one number, or one a spatial axis.
        runtime: device, precision, the user's tile, seed, progress, cancel and note.
        tile: core size the method prefers; the user's own goes first along y and x.
        multiple: tile inputs are multiples of this (a network with strides).
        batch: tiles computed together; None lets the engine choose.
        out_channels: c', checked when given.
        faces: "inside" for networks that pad by themselves: nothing is computed beyond the volume's faces.

    Returns:
        [c', *spatial] float32.

    Raises:
        InputError: an unknown or missing device, a nonsense tile or halo.
        Cancelled: between two tiles, after ``runtime.cancel``.
        MemoryError: even the smallest tile does not fit in memory.
        ValueError: the fn answers in a size that fits neither rule (a mistake in the method).
    """
    axes = len(source.shape) - 1
    device = resolve(runtime.device)
    shape = tuple(source.shape[1:])
    layout = _Layout(shape, per_axis(halo, axes, "halo"), per_axis(multiple, axes, "multiple"), faces)
    wanted = choose_tile(shape, runtime, device, tile)
    tiles = layout.tiles(wanted)
    together = min(len(tiles), batch or choose_batch(tiles[0].size, device))
    start = Fallback(device, resolve_precision(runtime.precision, device), wanted, together)
    answer, fallback, finished = _Answer(shape, out_channels), start, 0
    while True:
        job = _Job(fn, source, answer, layout, fallback, runtime, finished)
        try:
            job.run()
            return answer.whole
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            step = next_fallback(fallback, start)
            if step is None:
                edges = " x ".join(str(n) for n in fallback.tile)
                raise MemoryError(f"out of memory on {fallback.device}, even with tiles of {edges} px") from error
        finished = job.finished
        fallback, line = step
        runtime.note(line)
        if device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Layout:
    """What the method declares of its tiles; one number a spatial axis."""

    shape: tuple[int, ...]
    halo: tuple[int, ...]
    multiple: tuple[int, ...]
    faces: Faces

    def tiles(self, tile: Sequence[int]) -> list[Tile]:
        return plan(self.shape, tile, self.halo, multiple=self.multiple, faces=self.faces)


class _Answer:
    """The array that is filled; made on the first block, which says how many channels there are."""

    whole: Float

    def __init__(self, shape: tuple[int, ...], channels: int | None) -> None:
        self._shape, self._channels = shape, channels

    def write(self, where: Slices, block: Float) -> None:
        if self._channels is not None and len(block) != self._channels:
            raise ValueError(f"fn answered {len(block)} channels, promised {self._channels}")
        if not hasattr(self, "whole"):
            self.whole = np.empty((len(block), *self._shape), dtype=np.float32)
        self.whole[(slice(None), *where)] = block


class _Job:
    """One attempt at the volume in one way.

    Attributes:
        finished: every voxel before this position along the first axis is written; tiles come in raster order.
    """

    def __init__(
        self,
        fn: Fn,
        source: Float,
        answer: _Answer,
        layout: _Layout,
        fallback: Fallback,
        runtime: Runtime,
        finished: int,
    ) -> None:
        tiles = layout.tiles(fallback.tile)
        self._fn, self._source, self._way, self._runtime, self._halo = (fn, source, fallback, runtime, layout.halo)
        self._total = len(tiles)
        self._todo = [t for t in tiles if t.out[0].stop > finished]
        self._done = self._total - len(self._todo)
        # The part of an answer that any tile keeps: halos stay on the device.
        self._core = tuple(
            slice(min(t.keep[axis].start for t in tiles), max(t.keep[axis].stop for t in tiles))
            for axis in range(len(layout.shape))
        )
        self._transfer: DeviceTransfer = transfer_for(fallback.device)
        self._answer, self.finished = answer, finished

    def run(self) -> None:
        """Compute what is left; while a batch computes, the next is read and the last is written."""
        waiting: deque[tuple[list[Tile], Ticket]] = deque()
        self._runtime.progress(self._done, self._total, "tiles")
        with _computing(self._way, self._fn, self._runtime.seed) as fn:
            for first in range(0, len(self._todo), self._way.batch):
                self._runtime.cancel.check()
                tiles = self._todo[first : first + self._way.batch]
                waiting.append((tiles, self._transfer.download(self._compute(fn, tiles))))
                while len(waiting) > self._transfer.ahead:
                    self._write(*waiting.popleft())
            self._runtime.cancel.check()
            while waiting:
                self._write(*waiting.popleft())

    def _compute(self, fn: Fn, tiles: list[Tile]) -> Tensor:
        """Return the cores of a batch, [b, c', *core], still on the device."""
        size = tiles[0].size
        buffer = self._transfer.buffer((len(tiles), self._source.shape[0], *size))
        for tile, into in zip(tiles, buffer, strict=True):
            tile.fill(self._source[(slice(None), *tile.read)], into)
        answer = fn(self._transfer.upload())
        margins = _margins(size, tuple(answer.shape[2:]), self._halo)
        core = (slice(s.start - m, s.stop - m) for s, m in zip(self._core, margins, strict=True))
        return answer[(slice(None), slice(None), *core)]

    def _write(self, tiles: list[Tile], ticket: Ticket) -> None:
        for tile, block in zip(tiles, ticket(), strict=True):
            keep = (slice(k.start - c.start, k.stop - c.start) for k, c in zip(tile.keep, self._core, strict=True))
            self._answer.write(tile.out, block[(slice(None), *keep)])
            self.finished = max(self.finished, tile.out[0].start)
            self._done += 1
            self._runtime.progress(self._done, self._total, "tiles")


def _margins(size: tuple[int, ...], answered: tuple[int, ...], halo: tuple[int, ...]) -> tuple[int, ...]:
    """Return what the fn cut off on each side, an axis: nothing, or the halo."""
    if len(answered) == len(size) and all(a in (s, s - 2 * h) for s, a, h in zip(size, answered, halo, strict=True)):
        return tuple((s - a) // 2 for s, a in zip(size, answered, strict=True))
    raise ValueError(f"fn answered {answered} to {size}; must be equal, or smaller by twice the halo {halo}")


@contextmanager
def _computing(fallback: Fallback, fn: Fn, seed: int) -> Iterator[Fn]:
    """Yield the fn, moved to the device, with everything set as it should compute there."""
    device, reduced = fallback.device, fallback.dtype != torch.float32
    if hasattr(fn, "to"):
        fn.to(device)
    if isinstance(fn, nn.Module):
        channels_last(fn)
    with (
        torch.inference_mode(),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        torch.autocast(device.type, dtype=fallback.dtype if reduced else None, enabled=reduced),
    ):
        torch.manual_seed(seed)
        yield fn
