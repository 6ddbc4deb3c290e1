"""Alignment as a user asks for it: a roughly aligned stack in, one whose sections continue each other out.

Laws: the input is never modified; the grid stays; numpy in gives numpy out, and dask or zarr in gives dask arrays that
compute only what is read; both agree. Methods that answer with displacements find them in the call, and move every
voxel along; those that redraw every voxel do that, and every result says so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from napari_emsynth.errors import InputError
from napari_emsynth.methods import blocks, default
from napari_emsynth.methods.align.job import Job
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.methods.align.scoring.selfcheck import DEPTH, SMALLEST_EDGE, SelfCheck, check
from napari_emsynth.methods.align.stack.alignment import Alignment
from napari_emsynth.methods.align.stack.carry import finished
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.straighten import along, notices as field_notices, section_entries, straighten
from napari_emsynth.methods.align.unfit import looked_over, unfit
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.public import public
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.trust.intact import NOTHING, LeftOut
from napari_emsynth.volume import Array, Volume

# A section is redrawn between its neighbours, and moved onto one of them.
LEAST_REDRAWN, LEAST_MOVED = 3, 2


@public
def align(
    volume: Volume, options: AlignOptions, runtime: Runtime, *, materials: Volume | Array | None = None
) -> Result:
    """Refine the alignment of a stack that is roughly aligned.

    Args:
        volume: [z, y, x] a Volume or an array of any real dtype. Lazy in (dask, zarr) gives lazy out: a block is
            computed when it is read. Displacements are found in the call.
        materials: [z, y, x] of the volume's shape: 0 tissue, 1 fold or crack (may tear), 2 dirt or empty (ignored).
        {options}

    Returns:
        volume, synthetic mask (uint8, 1 where a voxel was redrawn), mask of what is empty (1 where a voxel comes from
        outside its section) and provenance, on the input's grid; displacement and confidence where the method has them.

    Raises:
        InputError: too few sections, bad parameters or weights, limits that do not fit the volume or the method.
        Cancelled: the runtime's token was cancelled.
    """
    request = Request.of(
        "align",
        volume,
        options.method or default("align"),
        weights=options.weights,
        params=options.params,
        runtime=runtime,
    )
    count, selfcheck = volume.shape[0], options.selfcheck
    given = Constraints(
        max_displacement_nm=options.max_displacement_nm,
        reference=options.listed("reference", count) or (),
        skip=options.listed("skip", count),
        materials=None if materials is None else Volume.of(materials),
    )
    check_sections(request)
    moves = request.spec.answers == "displacement"
    if moves:
        given.check(request.volume)
    else:
        refuse_constraints(request, given)
    notices: list[str] = []
    request = request.heard(notices)
    request.built()
    damage = _looked_over(request, given) if selfcheck else NOTHING
    notices += damage.notices("the self-check")
    without = unfit(damage, given.skip, *counts(request))
    checked, found = _checked(request, without, notices) if selfcheck else (None, None)
    # Fields found on the way are those of the stack where nothing but the sections themselves has a say in them.
    if damage.sections or replace(given, skip=()) != Constraints(skip=()) or given.skip:
        found = None
    result = _moved(request, given, found, notices) if moves else _redrawn(request, notices)
    notices += scale_notices(request.spec, request.weights, request.volume)
    record = provenance.record(
        **request.record(),
        **result.provenance,
        notices=list(dict.fromkeys(notices)),
        left_out=damage.to_json(),
        selfcheck=None if checked is None else checked.to_json() | advised(request, checked),
    )
    return finished(replace(result, provenance=record), request.volume, options.max_displacement_nm)


def _redrawn(request: Request, notices: list[str]) -> Result:
    """Redraw every voxel: now, or as it is read."""
    source = request.volume
    notices.append(f"{request.spec.title} redraws every voxel: the result is a synthesis throughout")
    job = Job.of(request)
    if source.is_lazy:
        data = blocks.lazy(job, source.shape, source.dtype, request.runtime, request.built().halo[0])
    else:
        data = blocks.eager(job, source.shape, source.dtype, request.runtime, "aligning")
    synthetic = blocks.mask([True] * source.shape[0], data)
    return Result(
        volume=Volume(data, source.grid, source.name, source.metadata),
        synthetic=Volume(synthetic, source.grid, f"{source.name} synthetic"),
        provenance={"sections": [{"section": z, "treatment": "redrawn"} for z in range(source.shape[0])]},
    )


def _moved(request: Request, constraints: Constraints, known: Alignment | None, notices: list[str]) -> Result:
    """Find every section's displacements now, unless they are known, and move it along them: now, or as it is read."""
    straight = straighten(request, constraints) if known is None else along(request, known)
    found = straight.alignment
    notices += field_notices(found, constraints)
    return Result(
        volume=straight.volume,
        synthetic=straight.outside,
        displacement=found.field,
        confidence=found.confidence,
        provenance={"sections": section_entries(found), "constraints": constraints.to_json()},
    )


def check_sections(request: Request, count: int | None = None) -> None:
    """Refuse a stack that is too short for the method.

    Args:
        request: what is to be aligned, and by what.
        count: sections that will be looked at; None for all.

    Raises:
        InputError: fewer than 3 sections to redraw, or 2 to move.
    """
    depth, least = counts(request)
    count = depth if count is None else count
    if count < least:
        raise InputError(f"{count} section(s) cannot be aligned: the limit is {least} sections")


def counts(request: Request) -> tuple[int, int]:
    """Return how many sections there are, and how many the method needs."""
    return request.volume.shape[0], LEAST_MOVED if request.spec.answers == "displacement" else LEAST_REDRAWN


def _looked_over(request: Request, given: Constraints) -> LeftOut:
    """Return what looks damaged: of the whole stack where that is looked over anyway."""
    moves, z = request.spec.answers == "displacement", middle(request.volume.shape[0], DEPTH)
    matter = None if moves else range(z.start, z.stop)
    return looked_over(request.volume, given.skip, matter, request.runtime)


def refuse_constraints(request: Request, given: Constraints) -> None:
    """Refuse what only a displacement could keep to.

    Raises:
        InputError: a limit, a reference, sections to skip, or materials.
    """
    said = {
        "a largest displacement": given.max_displacement_nm is not None,
        "a reference": bool(given.reference),
        "sections to skip": given.skip is not None,
        "materials": given.materials is not None,
    }
    for what in (name for name, is_given in said.items() if is_given):
        raise InputError(f"{what}: {request.spec.name} redraws every voxel and has no displacement to keep to it")


def advised(request: Request, found: SelfCheck) -> dict[str, str | None]:
    """Return what to do where the method loses, and why; there is nothing to use instead but the input."""
    if found.beats_floors:
        return {"instead": None, "advice": None}
    line = f"{request.spec.title} does not undo {found.verdict}: prefer the input, or another method by --method"
    return {"instead": None, "advice": line}


def _checked(
    request: Request, without: Collection[int], notices: list[str]
) -> tuple[SelfCheck | None, Alignment | None]:
    """Run the self-check and say what must be said of it; also returns the fields of the stack, where it found them."""
    request.runtime.progress(0, 1, "self-check")
    found, alignment = check(request, without)
    if found is None:
        height, width = request.volume.shape[1:]
        notices.append(
            f"sections of {height} x {width} px are below {SMALLEST_EDGE} px: the result is not self-checked"
        )
    elif not found.beats_floors:
        notices.append(advised(request, found)["advice"] or "")
    return found, alignment
