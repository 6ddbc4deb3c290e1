"""What a run on a volume of any size takes, worked out without reading a voxel of it.

Conventions: bytes are those of voxels before compression; work is counted in voxels of the result that are made up,
moved or redrawn. How fast a method is on this machine is measured on a small sample, its second run: the first one also
loads what the method needs; how fast voxels are written, on the disk for what is temporary. The self-check is not
counted: it takes as long for a large volume as for a small one.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.grid import Shape, Triple
from napari_emsynth.methods import default, get
from napari_emsynth.methods.tasks import function_of
from napari_emsynth.options import Options
from napari_emsynth.spec import Runtime, Task
from napari_emsynth.tiling.device import bare_name
from napari_emsynth.volume import Volume

# Beside a voxel: one byte that says whether it was made up, four of its error estimate.
MARK_BYTES, WIDTH_BYTES = 1, 4
# What a process holds before it computes anything (measured), and how often a block is held: read, drawn, written.
BASE_BYTES, COPIES = 400_000_000, 4
# Of what is written to measure how fast that goes.
COPY_BYTES, COPY_TILES = 1 << 25, 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run takes.

    Args:
        task: its name.
        method: its id.
        shape: of the result.
        voxel_nm: of the result; None when unknown.
        made: voxels that are made up, moved or redrawn.
        read_bytes: of the volume, each voxel once.
        written_bytes: voxels, marks and error estimates, with coarser levels.
        chunks: of the result's finest level.
        files: that they go into.
        parts: that the work can be divided into at most, by ``--array``.
        memory_bytes: of one process, about.
        rate: voxels made a second, measured here.
        copy_rate: bytes written a second, measured here.
        seconds: of one process, about: making and writing, one after the other.
        device: on which that was measured.
    """

    task: Task
    method: str
    shape: Shape
    voxel_nm: Triple | None
    made: int
    read_bytes: int
    written_bytes: int
    chunks: int
    files: int
    parts: int
    memory_bytes: int
    rate: float
    copy_rate: float
    seconds: float
    device: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self) | {"hours": round(self.seconds / 3600, 4)}


def plan_of(
    task: Task, volume: Volume, options: Options, runtime: Runtime, sample: Volume, *, patch: bool = False
) -> Plan:
    """Return what a run on a volume takes.

    Args:
        task: its name.
        volume: [z, y, x]; only its grid and type are looked at.
        options: of the task.
        runtime: device, precision, tile.
        sample: a small volume, on which the speed is measured.
        patch: only what changes is written.

    Raises:
        InputError: what the task itself would refuse of such a grid.
    """
    from napari_emsynth.io.zarr.parts import fitting, shard_shape
    from napari_emsynth.io.zarr.write import CHUNK

    method = options.method or default(task)
    spec = get(task, method)
    grid = spec.grid(volume.grid, options)
    made = _made(task, volume, options, grid.shape)
    size = volume.dtype.itemsize
    marks = MARK_BYTES + (WIDTH_BYTES if spec.has_uncertainty else 0)
    section = math.prod(grid.shape[1:])
    chunk = fitting(CHUNK, grid.shape)
    unit = shard_shape(grid.shape, chunk) or chunk
    written = made * (2 * size + marks) if patch else math.prod(grid.shape) * (size + marks) * 4 // 3
    # A few sections of context on both sides of what is made, whole chunks of them.
    context = min(volume.shape[0], (made // section + 2 * chunk[0]) if patch else volume.shape[0])
    rate, copy_rate = _rate(task, options, runtime, sample), _copy_rate(sample)
    return Plan(
        task=task,
        method=method,
        shape=grid.shape,
        voxel_nm=grid.voxel_nm,
        made=made,
        read_bytes=context * math.prod(volume.shape[1:]) * size,
        written_bytes=written,
        chunks=_count(grid.shape, chunk),
        files=_count(grid.shape, unit),
        parts=_count(grid.shape, unit),
        memory_bytes=BASE_BYTES + COPIES * unit[0] * section * (size + marks),
        rate=rate,
        copy_rate=copy_rate,
        seconds=made / rate + written / copy_rate,
        device=bare_name(runtime.device),
    )


def _made(task: Task, volume: Volume, options: Options, shape: Shape) -> int:
    """Return how many voxels of the result cost work."""
    if task != "interpolate":
        return math.prod(shape)
    listed = options.listed("sections", volume.shape[0]) or ()
    return len(listed) * math.prod(shape[1:])


def _count(shape: Shape, edge: Shape) -> int:
    return math.prod(-(-n // e) for n, e in zip(shape, edge, strict=True))


def _rate(task: Task, options: Options, runtime: Runtime, sample: Volume) -> float:
    """Return how many voxels of a result are made a second."""
    lists = {known.name: None for known in options.fields() if known.kind == "sections"}
    middle = {"sections": (sample.shape[0] // 2,)} if "sections" in lists else {}
    changed: dict[str, Any] = {**lists, **middle, "selfcheck": False}
    quick = replace(options, **changed)
    quiet = Runtime(device=runtime.device, precision=runtime.precision, tile=runtime.tile)
    best = math.inf
    for _ in range(2):
        started = time.perf_counter()
        result = function_of(task)(sample, options=quick, runtime=quiet)
        np.asarray(result.volume.data)
        best = min(best, time.perf_counter() - started)
    return _made(task, sample, quick, result.volume.shape) / best


def _copy_rate(sample: Volume) -> float:
    """Return how many bytes of voxels a second go into a Zarr, on the disk for what is temporary."""
    from napari_emsynth.io import write

    section = np.tile(sample.read(slice(None)), (1, COPY_TILES, COPY_TILES))
    copy = Volume.of(np.concatenate([section] * (COPY_BYTES // section.nbytes + 1)), voxel_nm=sample.grid.voxel_nm)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write(copy, Path(folder) / "copy.zarr")
        return float(copy.data.nbytes) / (time.perf_counter() - started)
