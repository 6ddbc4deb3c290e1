"""Lateral super-resolution as a user asks for it: a fast scan with coarse pixels in, a volume with finer ones out.

Laws: the input is never modified; the block means of the result equal what was acquired, bit for bit for integers;
numpy in gives numpy out, and dask or zarr in gives dask arrays that compute only what is read; both agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from napari_emsynth.chain import Carry, chained, enlarged
from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.methods import blocks, default, get
from napari_emsynth.methods.advice import advice, told
from napari_emsynth.methods.public import public
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.limits import check_shape, weights_for
from napari_emsynth.methods.superres.neighbours import misleading
from napari_emsynth.methods.superres.options import SuperresOptions
from napari_emsynth.methods.superres.scoring.hidden import looked_at
from napari_emsynth.methods.superres.scoring.selfcheck import COUNT, SelfCheck, check, residual
from napari_emsynth.sections import spans
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.tiling.memory_check import check_room
from napari_emsynth.trust import provenance
from napari_emsynth.trust.intact import NOTHING, LeftOut, left_out
from napari_emsynth.trust.oversampled import oversampled
from napari_emsynth.trust.validity import stated
from napari_emsynth.volume import Volume

# Edges of what is drawn at once, in px of the source: halos cost little in large blocks, and a viewer that shows a part
# of a lazy section computes those that it touches.
EAGER_EDGE, LAZY_EDGE = 256, 128


@public
def superresolve(volume: Volume, options: SuperresOptions, runtime: Runtime) -> Result:
    """Make the pixels of a fast, coarse scan smaller along y and x.

    Args:
        volume: [z, y, x] a Volume or an array of any real dtype. Lazy in (dask, zarr) gives lazy out: a block is
            computed when it is read.
        {options}

    Returns:
        volume, synthetic mask (uint8, everything), provenance, residual (float32 on the input's grid), and of methods
        that know them uncertainty and prior. ``Y f`` rows and ``X f`` columns: the outer edges stay.

    Raises:
        InputError: a factor the method cannot do, sections below 16 px, no room for the result, bad parameters or
            weights.
        Cancelled: the runtime's token was cancelled.
    """
    spec, factor, source = get("superres", options.method or default("superres")), options.factor, volume
    grid = spec.grid(source.grid, options)
    weights = weights_for(spec, options.weights, factor)
    request = Request.of("superres", source, spec.id, weights=weights, params=options.params, runtime=runtime)
    check_shape(source.shape)
    named = options.listed("damaged", source.shape[0])
    check_built(request, factor)
    notices: list[str] = []
    request = request.heard(notices)
    if not source.is_lazy:
        check_memory(request, grid)
    found = _looked_over(request, named, selfcheck=options.selfcheck)
    job = Job.of(request, factor, misleading(found) if named is None else named)
    notices += _notices(job) + (found.notices("the self-check") if options.selfcheck else [])
    unfit = found.sections | frozenset(named or ())
    checked = _checked(job, unfit, notices) if options.selfcheck else None
    off = residual(job, unfit) if options.selfcheck else None
    drawn = _drawn(job, grid)
    result = Result(
        volume=Volume(drawn["values"], grid, source.name, source.metadata),
        synthetic=Volume(blocks.mask([True] * grid.shape[0], drawn["values"]), grid, f"{source.name} synthetic"),
        uncertainty=_part(drawn, "half", grid, f"{source.name} uncertainty"),
        prior=_part(drawn, "prior", grid, f"{source.name} prior"),
        residual=_part(drawn, "residual", source.grid, f"{source.name} residual"),
        provenance=_provenance(job, found, checked, off, notices),
    )
    source = stated(source, range(source.shape[0]))
    return chained(result, source, Carry(marks=partial(enlarged, factor=factor)))


def _looked_over(request: Request, named: Sequence[int] | None, *, selfcheck: bool) -> LeftOut:
    """Return what looks damaged and was not named: of the whole volume where neighbours must not speak for others."""
    looks_around = request.built().context > 0
    if (named is not None and not named) or not (selfcheck or (looks_around and named is None)):
        return NOTHING
    matter = None if named is None and looks_around else looked_at(request, COUNT)
    return left_out(request.volume, matter, runtime=request.runtime, named=named or ())


def check_built(request: Request, factor: int) -> None:
    """Build the method, and refuse weights of another factor.

    Raises:
        InputError: weights that are missing, damaged, of another method or of another factor.
    """
    trained = request.built().factor
    if trained not in (None, factor):
        raise InputError(
            f"weights {request.weights} of {request.spec.name} make pixels {trained} times smaller, not {factor}"
        )


def check_memory(request: Request, grid: Grid) -> None:
    """Refuse a result that has no room in memory.

    Raises:
        InputError: with its mask and estimates it needs more than 80 % of what is free.
    """
    spec = request.spec
    voxel_bytes = request.volume.dtype.itemsize + 1 + 4 * (spec.has_uncertainty + spec.has_prior)
    z, y, x = grid.shape
    check_room(
        prod(grid.shape) * voxel_bytes,
        f"the result of {z} x {y} x {x} voxels needs",
        "read the volume lazily and write a .zarr, as emsynth superres IN OUT.zarr does",
    )


def _drawn(job: Job, grid: Grid) -> dict[str, Any]:
    """Return the parts that the method fills, by name; arrays, or dask for lazy sources."""
    request = job.request
    dtypes = [request.volume.dtype, *(np.dtype(np.float32) for _ in job.parts[1:])]
    # Of the residual a pixel is as large as an acquired one.
    coarser = tuple(job.factor if name == "residual" else 1 for name in job.parts)
    edge = job.factor * (LAZY_EDGE if request.volume.is_lazy else EAGER_EDGE)
    # Sections are drawn one by one: a deeper block would save nothing, and make a viewer wait.
    cut = blocks.Cut(edge=(1, edge, edge), coarser=coarser)
    if request.volume.is_lazy:
        drawn = blocks.lazy_together(job.together, grid.shape, dtypes, request.runtime, 0, cut)
    else:
        drawn = blocks.eager_together(job.together, grid.shape, dtypes, request.runtime, "super-resolution", cut)
    return dict(zip(job.parts, drawn, strict=True))


def _part(drawn: Mapping[str, Any], name: str, grid: Grid, title: str) -> Volume | None:
    return Volume(drawn[name], grid, title) if name in drawn else None


def _checked(job: Job, unfit: Collection[int], notices: list[str]) -> SelfCheck | None:
    """Run the self-check and say what must be said of it."""
    request = job.request
    request.runtime.progress(0, 1, "self-check")
    found = check(request, job.factor, unfit)
    if found is None:
        _, y, x = request.volume.shape
        notices.append(
            f"sections of {y} x {x} px are too small to be made {job.factor} times coarser: the result is not "
            "self-checked"
        )
    elif (line := advised(job, found)["advice"]) is not None:
        notices.append(line)
    return found


def advised(job: Job, found: SelfCheck) -> dict[str, str | None]:
    """Return what to use instead where the method loses, and why."""
    spec = job.request.spec
    lost = advice(spec, {**found.baselines, spec.id: found.psnr})
    return told(lost, f"on this volume made {job.factor} times coarser")


def _notices(job: Job) -> list[str]:
    """Say what is known before anything is drawn."""
    request, context = job.request, job.request.built().context
    title, count = request.spec.title, request.volume.shape[0]
    lines = [f"{title} redraws every section: every voxel of the result is made up"]
    if count < 2 * context + 1:
        lines.append(
            f"{title} looks at {2 * context + 1} sections, the volume has {count}: the outer ones stand for those "
            "that are missing"
        )
    if job.apart > 1:
        lines.append(
            f"adjacent sections are alike: {title} looks at {2 * context + 1} that are {job.apart} sections apart"
        )
    if context and job.damaged:
        lines.append(
            f"section(s) {spans(job.damaged)} are damaged: they are not looked at when their neighbours are drawn"
        )
    length = oversampled(request.volume)
    if length is not None:
        lines.append(
            f"structures are {length:.1f} px long: this volume seems to be of high resolution already, and what finer "
            "pixels would show is made up"
        )
    return [*lines, *scale_notices(request.spec, request.weights, request.volume)]


def _provenance(
    job: Job, found: LeftOut, checked: SelfCheck | None, off: Mapping[str, float] | None, notices: Sequence[str]
) -> dict[str, Any]:
    sections = [{"section": z, "treatment": "redrawn"} for z in range(job.request.volume.shape[0])]
    return provenance.record(
        **job.request.record(),
        sections=sections,
        notices=list(dict.fromkeys(notices)),
        factor=job.factor,
        damaged=sorted(job.damaged),
        apart=job.apart,
        residual=off,
        left_out=found.to_json(),
        selfcheck=None if checked is None else checked.to_json() | advised(job, checked),
    )
