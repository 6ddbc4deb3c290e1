"""Drawing the repairs into arrays: at once for arrays in memory, chunk by chunk for lazy ones.

Law: both give equal values. The three arrays (values, half width, synthetic) of a lazy result share their
computation: a block is synthesised once however many of them are read together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any
from uuid import uuid4

import numpy as np

from napari_emsynth.methods.interpolate.job import Job, blocks
from napari_emsynth.methods.interpolate.plan import Repair, Window
from napari_emsynth.methods.working import working
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.selfcheck import Calibration
from napari_emsynth.volume import Array

# Progress is reported in this many parts a block, so that tiles inside a block show.
PARTS = 100


@dataclass(frozen=True)
class Arrays:
    """values [z, y, x] in the source's dtype, half width [z, y, x] float32, synthetic [z, y, x] uint8."""

    values: Any
    half_width: Any
    synthetic: Any


def eager(
    job: Job, order: Sequence[int | None], repairs: Sequence[Repair], calibrations: Mapping[int, Calibration]
) -> Arrays:
    """Draw every repair now, into new arrays in memory."""
    shape = (len(order), *job.volume.shape[1:])
    values = np.empty(shape, dtype=job.volume.dtype)
    half, synthetic = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for k, z in enumerate(order):
        if z is not None:
            values[k] = job.volume.section(z)
    work = [(k, window) for k, repair in enumerate(repairs) for window in blocks(repair.window)]
    for done, (k, window) in enumerate(work):
        at = (repairs[k].section, *window)
        runtime = _part(job.runtime, done, len(work), f"section {repairs[k].section}")
        runtime.cancel.check()
        runtime.progress(0, 1, "")
        job.render(repairs[k], window, calibrations.get(k), runtime).onto(values[at], half[at], synthetic[at])
    job.runtime.progress(PARTS * len(work), PARTS * len(work), "done")
    return Arrays(values, half, synthetic)


def _part(runtime: Runtime, done: int, total: int, what: str) -> Runtime:
    """Map the engine's progress in one block to its share of the job."""

    def progress(tiles: int, of: int, _: str) -> None:
        runtime.progress(PARTS * done + PARTS * tiles // max(of, 1), PARTS * total, what)

    return replace(runtime, progress=progress)


def lazy(
    job: Job, order: Sequence[int | None], repairs: Sequence[Repair], calibrations: Mapping[int, Calibration]
) -> Arrays:
    """Return dask arrays; acquired runs pass through, sections with repairs are computed block by block."""
    import dask.array as da

    source = job.volume.data
    if not hasattr(source, "dask"):
        # As it is stored: left to itself, dask makes blocks of 128 MiB, of as many sections as the stack has.
        source = da.from_array(source, chunks=getattr(source, "chunks", None) or "auto")
    by_section: dict[int, list[tuple[Repair, Calibration | None]]] = {}
    for k, repair in enumerate(repairs):
        by_section.setdefault(repair.section, []).append((repair, calibrations.get(k)))
    pieces: list[tuple[Any, Any, Any]] = []
    k = 0
    while k < len(order):
        if k in by_section:
            pieces.append(_section(job, order[k], by_section[k]))
            k += 1
            continue
        last = k
        while last + 1 < len(order) and last + 1 not in by_section:
            last += 1
        first = order[k]
        assert first is not None
        run = source[first : first + last - k + 1].astype(job.volume.dtype)
        pieces.append((run, da.zeros_like(run, dtype=np.float32), da.zeros_like(run, dtype=np.uint8)))
        k = last + 1
    return Arrays(*(da.concatenate(parts, axis=0) for parts in zip(*pieces, strict=True)))


def _section(
    job: Job, source: int | None, repairs: Sequence[tuple[Repair, Calibration | None]]
) -> tuple[Any, Any, Any]:
    """Return one output section as three dask arrays [1, y, x] of equal chunks."""
    import dask
    import dask.array as da

    types = (job.volume.dtype, np.dtype(np.float32), np.dtype(np.uint8))
    h, w = job.volume.shape[1:]
    rows: dict[int, list[list[Any]]] = {}
    for window in blocks((slice(0, h), slice(0, w))):
        size = tuple(s.stop - s.start for s in window)
        # Bound beforehand: dask would look for its own arrays inside the arguments, find the volume, and compute it.
        task = partial(compose, job, source, tuple(repairs), window)
        answer = dask.delayed(task, name=f"compose-{uuid4().hex}", nout=3, traverse=False)()
        parts = [da.from_delayed(a, (1, *size), dtype=t) for a, t in zip(answer, types, strict=True)]
        rows.setdefault(window[0].start, []).append(parts)
    lines = [[da.concatenate(parts, axis=2) for parts in zip(*row, strict=True)] for row in rows.values()]
    values, half, synthetic = (da.concatenate(parts, axis=1) for parts in zip(*lines, strict=True))
    return values, half, synthetic


def compose(
    job: Job, source: int | None, repairs: Sequence[tuple[Repair, Calibration | None]], window: Window
) -> tuple[Array, Array, Array]:
    """Draw all repairs of one section that touch a window; each answer is [1, y, x]."""
    size = tuple(s.stop - s.start for s in window)
    with working(prod(size)):
        return _composed(job, source, repairs, window, size)


def _composed(
    job: Job,
    source: int | None,
    repairs: Sequence[tuple[Repair, Calibration | None]],
    window: Window,
    size: tuple[int, ...],
) -> tuple[Array, Array, Array]:
    values = np.zeros(size, job.volume.dtype) if source is None else job.volume.section(source, *window).copy()
    half, synthetic = np.zeros(size, np.float32), np.zeros(size, np.uint8)
    for repair, calibration in repairs:
        shared = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(repair.window, window, strict=True)
        )
        if any(s.start >= s.stop for s in shared):
            continue
        at = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(shared, window, strict=True))
        drawn = job.render(repair, (shared[0], shared[1]), calibration, job.runtime)
        drawn.onto(values[at], half[at], synthetic[at])
    return values[None], half[None], synthetic[None]
