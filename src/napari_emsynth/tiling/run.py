"""Tiles -> device -> blended output: the one loop every network of this package runs in.

Conventions: arrays are [c, *spatial] float32 with spatial = (y, x) or (z, y, x); the fn sees [b, c, *spatial]
on the device and answers [b, c', *spatial], or smaller by twice the halo along any axis ('valid' networks).

Laws: when the halo covers the fn's receptive field, tiled equals whole; the result depends on the seed, not
on the order of anything; nothing of the source is changed; memory does not grow with the volume when source
and out stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.blend import Accumulator
from napari_emsynth.tiling.device import resolve, resolve_precision
from napari_emsynth.tiling.oom_fallback import Fallback, is_out_of_memory, next_fallback
from napari_emsynth.tiling.plan import Faces, Slices, Tile, plan
from napari_emsynth.tiling.size import choose_batch, choose_tile, per_axis
from napari_emsynth.tiling.transfer import DeviceTransfer, Ticket, channels_last, transfer_for
from napari_emsynth.volume import Float

Fn = Callable[[Tensor], Tensor]
"""[b, c, *size] float32 on the device -> [b, c', *size or size - 2 halo]."""


@runtime_checkable
class Reader(Protocol):
    """A source that is read block by block."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, then the spatial axes."""

    def read(self, where: Slices) -> Float:
        """Return [c, *where] float32; ``where`` has one slice a spatial axis."""


@runtime_checkable
class Writer(Protocol):
    """A sink that is written block by block, each voxel once (more often only after memory ran out)."""

    def write(self, where: Slices, block: Float) -> None:
        """Store [c', *where] float32; the block's memory is used again, so the sink must not keep it."""


def run(
    fn: Fn,
    source: Float | Reader,
    out: Float | Writer | None = None,
    *,
    halo: int | Sequence[int],
    runtime: Runtime,
    tile: int | Sequence[int] | None = None,
    multiple: int | Sequence[int] = 1,
    overlap: int | Sequence[int] = 0,
    batch: int | None = None,
    out_channels: int | None = None,
    faces: Faces = "reflect",
) -> Any:
    """Compute ``fn`` over a volume of any size, tile by tile.

    Args:
        fn: [b, c, *size] float32 -> [b, c', *size] or [b, c', *(size - 2 halo)] (decided axis by axis). A
            module, in eval mode, or anything else with ``to(device)`` is moved to the device; other callables
            find the device on their input. It may change its input.
        source: [c, *spatial] float32 array, or a Reader.
        out: [c', *spatial] array or a Writer; None makes a float32 array.
        halo: voxels a tile reads beyond what it computes; one number, or one a spatial axis.
        runtime: device, precision, the user's tile, seed, progress, cancel and note.
        tile: core size the method prefers; the user's own goes first along y and x.
        multiple: tile inputs are multiples of this (a network with strides).
        overlap: voxels that neighbouring tiles share and blend.
        batch: tiles computed together; None lets the engine choose.
        out_channels: c', checked when given.
        faces: "inside" for networks that pad by themselves: nothing is computed beyond the volume's faces.

    Returns:
        ``out``, or the array made for it.

    Raises:
        InputError: an unknown or missing device, a nonsense tile or halo.
        Cancelled: between two tiles, after ``runtime.cancel``.
        MemoryError: even the smallest tile does not fit in memory.
        ValueError: the fn answers in a size that fits neither rule (a mistake in the method).
    """
    axes = len(source.shape) - 1
    device = resolve(runtime.device)
    shape = tuple(source.shape[1:])
    layout = _Layout(
        shape,
        per_axis(halo, axes, "halo"),
        per_axis(overlap, axes, "overlap"),
        per_axis(multiple, axes, "multiple"),
        faces,
    )
    wanted = choose_tile(shape, runtime, device, tile)
    tiles = layout.tiles(wanted)
    together = min(len(tiles), batch or choose_batch(tiles[0].size, device))
    start = Fallback(device, resolve_precision(runtime.precision, device), wanted, together)
    sink = _Sink(out, shape, out_channels)
    fallback, finished = start, 0
    while True:
        job = _Job(fn, source, sink, layout, fallback, runtime, finished)
        try:
            job.run()
            return sink.out
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            step = next_fallback(fallback, start)
            if step is None:
                edges = " x ".join(str(n) for n in fallback.tile)
                raise MemoryError(
                    f"out of memory on {fallback.device}, even with tiles of {edges} px"
                ) from error
        finished = job.blend.finished
        fallback, line = step
        runtime.note(line)
        if device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Layout:
    """What the method declares of its tiles; one number a spatial axis."""

    shape: tuple[int, ...]
    halo: tuple[int, ...]
    overlap: tuple[int, ...]
    multiple: tuple[int, ...]
    faces: Faces

    def tiles(self, tile: Sequence[int]) -> list[Tile]:
        return plan(
            self.shape, tile, self.halo, overlap=self.overlap, multiple=self.multiple, faces=self.faces
        )


class _Sink:
    """Where finished voxels go; makes the array on the first block when there is none."""

    def __init__(self, out: Float | Writer | None, shape: tuple[int, ...], channels: int | None) -> None:
        self.out: Any = out
        self._shape = shape
        self._channels = channels

    def write(self, where: Slices, block: Float) -> None:
        if self._channels is not None and len(block) != self._channels:
            raise ValueError(f"fn answered {len(block)} channels, promised {self._channels}")
        if self.out is None:
            self.out = np.empty((len(block), *self._shape), dtype=np.float32)
        if isinstance(self.out, Writer):
            self.out.write(where, block)
        else:
            self.out[(slice(None), *where)] = block


class _Job:
    """One attempt at the volume in one way."""

    def __init__(
        self,
        fn: Fn,
        source: Float | Reader,
        sink: _Sink,
        layout: _Layout,
        fallback: Fallback,
        runtime: Runtime,
        finished: int,
    ) -> None:
        tiles = layout.tiles(fallback.tile)
        self._fn, self._source, self._way, self._runtime, self._halo = (
            fn,
            source,
            fallback,
            runtime,
            layout.halo,
        )
        self._total = len(tiles)
        self._todo = [t for t in tiles if t.out[0].stop > finished]
        self._done = self._total - len(self._todo)
        # The part of an answer that any tile keeps: halos stay on the device.
        self._core = tuple(
            slice(min(t.keep[axis].start for t in tiles), max(t.keep[axis].stop for t in tiles))
            for axis in range(len(layout.shape))
        )
        self._transfer: DeviceTransfer = transfer_for(fallback.device)
        self.blend = Accumulator(tiles, layout.overlap, sink.write, first=finished)

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
        self.blend.close()

    def _compute(self, fn: Fn, tiles: list[Tile]) -> Tensor:
        """Return the cores of a batch, [b, c', *core], still on the device."""
        size = tiles[0].size
        buffer = self._transfer.buffer((len(tiles), self._source.shape[0], *size))
        for tile, into in zip(tiles, buffer, strict=True):
            tile.fill(_read(self._source, tile.read), into)
        answer = fn(self._transfer.upload())
        margins = _margins(size, tuple(answer.shape[2:]), self._halo)
        core = (slice(s.start - m, s.stop - m) for s, m in zip(self._core, margins, strict=True))
        return answer[(slice(None), slice(None), *core)]

    def _write(self, tiles: list[Tile], ticket: Ticket) -> None:
        for tile, block in zip(tiles, ticket(), strict=True):
            keep = (
                slice(k.start - c.start, k.stop - c.start) for k, c in zip(tile.keep, self._core, strict=True)
            )
            self.blend.add(tile, block[(slice(None), *keep)])
            self._done += 1
            self._runtime.progress(self._done, self._total, "tiles")


def _read(source: Float | Reader, where: Slices) -> Float:
    return source.read(where) if isinstance(source, Reader) else source[(slice(None), *where)]


def _margins(size: tuple[int, ...], answered: tuple[int, ...], halo: tuple[int, ...]) -> tuple[int, ...]:
    """Return what the fn cut off on each side, an axis: nothing, or the halo."""
    if len(answered) == len(size) and all(
        a in (s, s - 2 * h) for s, a, h in zip(size, answered, halo, strict=True)
    ):
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
