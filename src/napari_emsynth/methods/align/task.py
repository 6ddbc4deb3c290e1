"""Alignment as a user asks for it: a roughly aligned stack in, one whose sections continue each other out.

Laws: the input is never modified; the grid stays; numpy in gives numpy out, and dask or zarr in gives dask arrays that
compute only what is read; both agree. Methods here redraw every voxel, and every result says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import blocks, default
from napari_emsynth.methods.align.job import Job
from napari_emsynth.methods.align.selfcheck import SMALLEST_EDGE, SelfCheck, check
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.params import Params
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.volume import Array, Volume

# A section is aligned between its neighbours.
LEAST_SECTIONS = 3


def align(
    volume: Volume | Array,
    *,
    method: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    runtime: Runtime = Runtime(),
    selfcheck: bool = True,
) -> Result:
    """Refine the alignment of a stack that is roughly aligned.

    Args:
        volume: [z, y, x] Volume or array; numpy, memmap, dask or zarr, any real dtype.
        method: id, see ``methods("align")``; None takes the default.
        weights: name or file; None takes the method's default.
        params: of the method.
        voxel_nm: (z, y, x) in nm, where ``volume`` does not state it.
        runtime: device, precision, tile, seed, progress, cancel.
        selfcheck: align the middle of the volume, as it is and jittered by a known amount, and report both.

    Returns:
        volume, synthetic mask (uint8, 1 everywhere) and provenance, on the input's grid. For dask or zarr input these
        are lazy.

    Raises:
        InputError: fewer than 3 sections, bad parameters or weights.
        Cancelled: after ``runtime.cancel``.
    """
    request = Request.of(
        "align",
        volume,
        method or default("align"),
        weights=weights,
        params=params,
        voxel_nm=voxel_nm,
        runtime=runtime,
    )
    source = request.volume
    check_sections(source.shape[0])
    notices: list[str] = []
    request = request.heard(notices)
    request.built()
    checked = _checked(request, notices) if selfcheck else None
    notices.append(f"{request.spec.title} redraws every voxel: the result is a synthesis throughout")
    notices += scale_notices(request.spec, request.weights, request.volume)
    job = Job.of(request)
    if source.is_lazy:
        data = blocks.lazy(job, source.shape, source.dtype, request.runtime, request.built().halo[0])
    else:
        data = blocks.eager(job, source.shape, source.dtype, request.runtime, "aligning")
    synthetic = blocks.mask([True] * source.shape[0], data)
    return Result(
        volume=Volume(data, source.grid, source.name, source.metadata),
        synthetic=Volume(synthetic, source.grid, f"{source.name} synthetic"),
        provenance=_provenance(request, checked, notices),
    )


def check_sections(count: int) -> None:
    """Refuse a stack whose sections have no neighbours on both sides.

    Raises:
        InputError: fewer than 3 sections.
    """
    if count < LEAST_SECTIONS:
        raise InputError(f"{count} section(s) cannot be aligned: the limit is {LEAST_SECTIONS} sections")


def _checked(request: Request, notices: list[str]) -> SelfCheck | None:
    """Run the self-check and say what must be said of it."""
    request.runtime.progress(0, 1, "self-check")
    found = check(request)
    if found is None:
        height, width = request.volume.shape[1:]
        notices.append(
            f"sections of {height} x {width} px are below {SMALLEST_EDGE} px: the result is not self-checked"
        )
    elif not found.beats_floors:
        notices.append(
            f"{request.spec.title} does not undo a known jitter on this volume ({found.psnr_jittered:.1f} dB "
            f"jittered, {found.psnr_aligned:.1f} dB aligned): prefer the input"
        )
    return found


def _provenance(request: Request, checked: SelfCheck | None, notices: Sequence[str]) -> dict[str, Any]:
    return provenance.record(
        **request.record(),
        sections=[{"section": z, "treatment": "redrawn"} for z in range(request.volume.shape[0])],
        notices=list(dict.fromkeys(notices)),
        selfcheck=None if checked is None else checked.to_json(),
    )
