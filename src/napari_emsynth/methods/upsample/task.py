"""Upsampling along z as a user asks for it: a volume with thicker sections in, one with thinner sections out.

Laws: the input is never modified; under point sampling a method that keeps what was acquired gives every acquired
section back bit-identical, but for those that are repaired; under slab sampling block means equal the acquired
sections; numpy in gives numpy out, and dask or zarr in gives dask arrays that compute only what is read; both agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from napari_emsynth.chain import Carry, between, chained, gathered
from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.methods import INDEX, blocks, get
from napari_emsynth.methods.advice import advice, told
from napari_emsynth.methods.public import public
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.methods.upsample.emsynth.fuse import trust_of
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.labels.labels import Along
from napari_emsynth.methods.upsample.lattice import ISOTROPIC, Lattice, check_factor, oblong
from napari_emsynth.methods.upsample.look import looked
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.methods.upsample.repair import Damage, find_damage, mended, records
from napari_emsynth.methods.upsample.scoring.selfcheck import DEPTH, EDGE, SelfCheck, calibration, check
from napari_emsynth.options import LookName
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.trust.look import SMALLEST, checked_look
from napari_emsynth.trust.validity import stated
from napari_emsynth.volume import Volume

# A method that is followed less than this share of the way gets a notice.
FOLLOWED = 0.5


@public
def upsample(volume: Volume, options: UpsampleOptions, runtime: Runtime) -> Result:
    """Make the sections of a volume thinner.

    Args:
        volume: [z, y, x] a Volume or an array of any real dtype. Lazy in (dask, zarr) gives lazy out: a block is
            computed when it is read.
        {options}

    Returns:
        volume, synthetic mask (uint8), provenance, and of methods that know it the uncertainty (float32, half width of
        the 90 % interval in source units). Point: ``floor((Z - 1) factor) + 1`` sections, the origin stays. Slab:
        ``floor(Z factor)`` sections, the outer faces stay.

    Raises:
        InputError: fewer than 2 sections, a factor or sampling the method cannot do, no voxel size where "isotropic"
            needs it, too few intact sections, bad parameters, weights or look.
        Cancelled: the runtime's token was cancelled.
    """
    source, wanted = volume, checked_look(options.look)
    lattice = options.lattice(source.grid)
    chosen = options.method or default_method(lattice.factor, lattice.sampling)
    grid = get("upsample", chosen).grid(source.grid, options)
    notices: list[str] = []
    request = Request.of(
        "upsample", source, chosen, weights=options.weights, params=options.params, runtime=runtime
    ).heard(notices)
    request.built()
    damage = find_damage(
        source,
        options.listed("damaged", source.shape[0]),
        request.runtime,
        range(source.shape[0]) if options.selfcheck else (),
    )
    notices += damage.notices
    request = replace(request, volume=mended(source, damage, request.runtime))
    job = Job.of(request, lattice)
    for line in _size_notices(job):
        request.runtime.note(line)
    found = _found(job, source, damage) if options.selfcheck else None
    job, checked = _checked(job, found, notices)
    notices += _notices(job) + (oblong(source.grid) if options.factor == ISOTROPIC else [])
    job = looked(job, wanted, damage.unfit)
    notices += _look_notices(job, wanted)
    data, half = _drawn(job, grid.shape, is_lazy=source.is_lazy)
    not_acquired = {None, *damage.why}
    made_up = [job.kept(section) in not_acquired for section in range(grid.shape[0])]
    result = Result(
        volume=Volume(data, grid, source.name, source.metadata),
        synthetic=Volume(blocks.mask(made_up, data), grid, f"{source.name} synthetic"),
        uncertainty=None if half is None else Volume(half, grid, f"{source.name} uncertainty"),
        provenance=_provenance(job, damage, made_up, checked, notices, wanted),
        along=Along(lattice, source.grid),
    )
    known = stated(request.volume, range(source.shape[0])).known
    return chained(result, replace(source, known=known), carry(lattice))


def carry(lattice: Lattice) -> Carry:
    """Return how marks go along: with the sections that reappear; between two, a voxel is empty where both are."""
    sections = range(lattice.sections.stop)
    pairs = [lattice.sources(j) for j in sections]
    return Carry(
        marks=partial(gathered, sources=[lattice.acquired(j) for j in sections]),
        empty=lambda earlier, _made: between(earlier, pairs),
    )


@dataclass(frozen=True)
class Checked:
    """What was found out about a job before it is done; None where nobody asked, or where that cannot be found out."""

    selfcheck: dict[str, Any] | None = None
    residual: dict[str, float] | None = None
    calibration: dict[str, Any] | None = None
    blend_weight: float | None = None


def _drawn(job: Job, shape: Shape, *, is_lazy: bool) -> tuple[Any, Any]:
    """Return the upsampled volume and, of methods that know it, the half width; arrays, or dask for lazy sources."""
    request = job.request
    dtypes = [request.volume.dtype]
    draw: blocks.DrawTogether = blocks.Alone(job)
    if request.spec.has_uncertainty:
        draw = job.together
        dtypes.append(np.dtype(np.float32))
    if is_lazy:
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


def _found(job: Job, source: Volume, damage: Damage) -> SelfCheck:
    """Run the self-check, on a volume in which all that looks damaged is repaired."""
    request = job.request
    request.runtime.progress(0, 1, "self-check")
    if damage.found.kinds:
        request = replace(request, volume=mended(source, damage.all_repaired, request.runtime))
    return check(request, job.lattice, damage.unfit)


def _checked(job: Job, found: SelfCheck | None, notices: list[str]) -> tuple[Job, Checked]:
    """Calibrate the job by its self-check, measure its residual, and say what must be said of it."""
    request, residual = job.request, None
    if found is not None:
        notices += [*_verdicts(request.spec, found, request.volume.shape[0]), *_blend_notices(job, found)]
        job = replace(job, blend_weight=found.blend_weight)
        residual = _residual(job)
    factor, measured_on = calibration(job, found)
    calibrated = {"factor": round(factor, 4), "measured_on": measured_on}
    scores = None if found is None else found.to_json()
    return replace(job, calibration=factor), Checked(
        selfcheck=None if found is None or scores is None else scores | advised(request.spec, found),
        residual=residual,
        calibration=calibrated if request.spec.has_uncertainty else None,
        blend_weight=None if found is None or found.in_plane is None else round(found.blend_weight, 4),
    )


def advised(spec: MethodSpec, found: SelfCheck) -> dict[str, str | None]:
    """Return what to use instead where the method loses on hidden sections, and why."""
    along = found.along
    lost = None if along is None else advice(spec, {**along.baselines, spec.id: along.psnr})
    return told(lost, "on hidden sections of this volume")


def _verdicts(spec: MethodSpec, found: SelfCheck, count: int) -> list[str]:
    in_plane = found.in_plane
    if found.along is None:
        instead = "the result is not self-checked"
        if in_plane is not None:
            instead = f"it was checked in plane only ({in_plane.psnr:.1f} dB, linear {in_plane.linear:.1f} dB)"
        return [f"{count} sections are too few to hide some: {instead}"]
    line = advised(spec, found)["advice"]
    return [] if line is None else [line]


def _blend_notices(job: Job, found: SelfCheck) -> list[str]:
    """Say so when the method is followed less than half the way."""
    if found.blend_weight >= FOLLOWED:
        return []
    spec, start = job.request.spec, job.start
    said = (
        f"in plane, where the truth is known, {spec.title} hardly beats {start} at this distance: "
        f"the result goes {found.blend_weight:.0%} of the way from {start} to its answer"
    )
    return [f"{said}; fine-tune it (emsynth train {spec.name})"]


def _residual(job: Job) -> dict[str, float] | None:
    """Return how far block means are from the acquired sections, in the middle of the volume; None for points."""
    if job.lattice.sampling == "point":
        return None
    count, height, width = job.request.volume.shape
    z = blocks.middle(count, max(2, int(DEPTH / job.lattice.factor)))
    quiet = job.request.on(job.request.volume).runtime
    return job.residual(range(z.start, z.stop), blocks.middle(height, EDGE), blocks.middle(width, EDGE), quiet)


def _notices(job: Job) -> list[str]:
    scale = scale_notices(job.request.spec, job.request.weights, job.request.volume)
    return [*_redraw_notices(job), *_context_notices(job), *scale]


def _redraw_notices(job: Job) -> list[str]:
    spec: MethodSpec = job.request.spec
    if job.lattice.sampling == "slab":
        return ["slab sampling divides every acquired section: every voxel of the result is made up"]
    if not spec.keeps_acquired:
        return [f"{spec.title} redraws acquired voxels too: every voxel of the result is made up"]
    return []


def _size_notices(job: Job) -> list[str]:
    """Say so when the answer would be another one if the voxel size were known."""
    if job.request.volume.grid.voxel_nm is not None or not hasattr(job.request.built(), "in_plane"):
        return []
    apart = f"as if sections were {job.lattice.factor:g} times as far apart as pixels"
    said = "the voxel size is unknown: how far the method is followed was measured"
    return [f"{said} {apart}; the answer changes with it, so give --voxel-size z,y,x in nm"]


def _look_notices(job: Job, wanted: LookName) -> list[str]:
    if wanted == "natural" and job.look is None:
        needed = f"sections of {SMALLEST} x {SMALLEST} px or more, some of them intact"
        return [f"no natural look: it is measured on {needed}; the accurate mean is given"]
    return []


def _context_notices(job: Job) -> list[str]:
    """Say so when the whole volume is less than a method looks at on one side."""
    count, seen = job.lattice.count, job.request.built().halo(job.lattice.factor)[0]
    if count >= seen:
        return []
    title = job.request.spec.title
    return [f"{count} sections are fewer than the {seen} that {title} looks at on each side: the rest is mirrored"]


def _provenance(
    job: Job, damage: Damage, made_up: Sequence[bool], checked: Checked, notices: Sequence[str], look: LookName
) -> dict[str, Any]:
    request, lattice = job.request, job.lattice
    return provenance.record(
        **request.record(),
        sections=[_section_record(job, damage, int(section)) for section in np.flatnonzero(made_up)],
        notices=list(dict.fromkeys(notices)),
        factor=lattice.factor,
        sampling=lattice.sampling,
        look=look,
        trust=trust_of(request.built(), lattice.factor, lattice.sampling),
        selfcheck=checked.selfcheck,
        residual=checked.residual,
        calibration=checked.calibration,
        departure=checked.blend_weight,
        **records(request.volume, damage),
    )


def _section_record(job: Job, damage: Damage, section: int) -> dict[str, Any]:
    lattice = job.lattice
    below, above, t = lattice.neighbours(section)
    own = lattice.nearest(section) if lattice.sampling == "slab" else lattice.acquired(section)
    treatment = "upsampled" if lattice.acquired(section) is None else "redrawn"
    if own in damage.why:
        treatment = "repaired"
    told = {"section": section, "treatment": treatment, "below": below, "above": above, "t": round(t, 6)}
    if job.look is None:
        return told
    # Under slab sampling nothing is borrowed: what differs within the section's own slab is amplified.
    lender = {"borrowed_from": lattice.nearest(section)} if lattice.sampling == "point" else {}
    return told | {"look": lender | job.look.told()}
