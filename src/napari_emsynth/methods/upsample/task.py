"""Upsampling along z as a user asks for it: a volume with thicker sections in, one with thinner sections out.

Laws: the input is never modified; under point sampling a method that keeps what was acquired gives every acquired
section back bit-identical; numpy in gives numpy out, and dask or zarr in gives dask arrays that compute only what is
read; both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.methods import INDEX, blocks, get
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import Lattice, check_factor, check_sections
from napari_emsynth.methods.upsample.selfcheck import SelfCheck, check
from napari_emsynth.params import Params
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.volume import Array, Volume


def upsample(
    volume: Volume | Array,
    factor: float = 2,
    *,
    sampling: str = "point",
    method: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    runtime: Runtime = Runtime(),
    selfcheck: bool = True,
) -> Result:
    """Make sections thinner by ``factor``.

    Args:
        volume: [z, y, x] Volume or array; numpy, memmap, dask or zarr, any real dtype.
        factor: 2 to 12; may be fractional under point sampling.
        sampling: "point" when each section is a thin sample of the tissue (SBEM, FIB-SEM), "slab" when each is an
            average over its thickness (ssTEM, binned FIB-SEM).
        method: id, see ``methods("upsample")``; None takes the first that can do factor and sampling.
        weights: name or file; None takes the method's default.
        params: of the method.
        voxel_nm: (z, y, x) in nm, where ``volume`` does not state it.
        runtime: device, precision, tile, seed, progress, cancel.
        selfcheck: hide sections of the volume, make them up, and report the error beside linear interpolation.

    Returns:
        volume, synthetic mask (uint8) and provenance. Point: ``floor((Z - 1) factor) + 1`` sections, the origin stays.
        Slab: ``Z factor`` sections, the outer faces stay. For dask or zarr input these are lazy.

    Raises:
        InputError: fewer than 2 sections, a factor or sampling the method cannot do, bad parameters or weights.
        Cancelled: after ``runtime.cancel``.
    """
    chosen = method or default_method(factor, sampling)
    factor, known = check_factor(get("upsample", chosen), factor, sampling)
    request = Request.of(
        "upsample", volume, chosen, weights=weights, params=params, voxel_nm=voxel_nm, runtime=runtime
    )
    check_sections(request.volume.shape[0])
    notices: list[str] = []
    request = request.heard(notices)
    request.built()
    job = Job.of(request, Lattice(request.volume.shape[0], factor, known))
    checked = _checked(job, notices) if selfcheck else None
    notices += [*_redraw_notices(job), *scale_notices(request.spec, request.weights, request.volume)]
    source = request.volume
    grid = job.lattice.grid(source.grid)
    made_up = [job.kept(section) is None for section in range(grid.shape[0])]
    data, half = _drawn(job, grid.shape)
    synthetic = blocks.mask(made_up, data)
    return Result(
        volume=Volume(data, grid, source.name, source.metadata),
        synthetic=Volume(synthetic, grid, f"{source.name} synthetic"),
        uncertainty=None if half is None else Volume(half, grid, f"{source.name} uncertainty"),
        provenance=_provenance(job, made_up, checked, notices),
    )


def _drawn(job: Job, shape: Shape) -> tuple[Any, Any]:
    """Return the upsampled volume and, of methods that know it, the half width; arrays, or dask for lazy sources."""
    request = job.request
    dtypes = [request.volume.dtype]
    draw: blocks.DrawTogether = blocks.Alone(job)
    if request.spec.has_uncertainty:
        draw = job.together
        dtypes.append(np.dtype(np.float32))
    if request.volume.is_lazy:
        drawn = blocks.lazy_together(draw, shape, dtypes, request.runtime, job.halo)
    else:
        drawn = blocks.eager_together(draw, shape, dtypes, request.runtime, "upsampling")
    return drawn[0], drawn[1] if len(drawn) > 1 else None


def default_method(factor: Any, sampling: str) -> str:
    """Return the id of the first method that can do factor and sampling; else of the first, which says why not."""
    for id_ in INDEX["upsample"]:
        try:
            check_factor(get("upsample", id_), factor, sampling)
        except InputError:
            continue
        return id_
    return INDEX["upsample"][0]


def _checked(job: Job, notices: list[str]) -> SelfCheck | None:
    """Run the self-check and say what must be said of it."""
    request = job.request
    request.runtime.progress(0, 1, "self-check")
    found = check(request, job.lattice)
    if found is None:
        notices.append(
            f"{request.volume.shape[0]} sections are too few to hide some: the result is not self-checked"
        )
    elif not found.beats_floors:
        notices.append(
            f"{request.spec.title} does not beat linear interpolation on hidden sections of this volume "
            f"({found.psnr:.1f} dB, linear {found.linear:.1f} dB); linear is offered instead"
        )
    return found


def _redraw_notices(job: Job) -> list[str]:
    spec: MethodSpec = job.request.spec
    if job.lattice.sampling == "slab":
        return ["slab sampling divides every acquired section: every voxel of the result is made up"]
    if not spec.keeps_acquired:
        return [f"{spec.title} redraws acquired voxels too: every voxel of the result is made up"]
    return []


def _provenance(
    job: Job, made_up: Sequence[bool], checked: SelfCheck | None, notices: Sequence[str]
) -> dict[str, Any]:
    sections = [_section_record(job, int(section)) for section in np.flatnonzero(made_up)]
    return provenance.record(
        **job.request.record(),
        sections=sections,
        notices=list(dict.fromkeys(notices)),
        factor=job.lattice.factor,
        sampling=job.lattice.sampling,
        selfcheck=None if checked is None else checked.to_json(),
    )


def _section_record(job: Job, section: int) -> dict[str, Any]:
    below, above, t = job.lattice.neighbours(section)
    treatment = "upsampled" if job.lattice.acquired(section) is None else "redrawn"
    return {"section": section, "treatment": treatment, "below": below, "above": above, "t": round(t, 6)}
