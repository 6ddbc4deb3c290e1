"""Interpolation as a user asks for it: marked sections in, a result with its error estimate out.

Laws: the input is never modified; every voxel outside the marked sections and mask is bit-identical; numpy in gives
numpy out, and dask or zarr in gives dask arrays that compute only what is read; both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_emsynth.chain import Carry, chained, gathered, library, like, overlaid
from napari_emsynth.errors import InputError
from napari_emsynth.methods import default, get
from napari_emsynth.methods.advice import Advice, advice, told
from napari_emsynth.methods.interpolate import render
from napari_emsynth.methods.interpolate.fit import LEAST_PLACES, Fit
from napari_emsynth.methods.interpolate.job import Job
from napari_emsynth.methods.interpolate.options import InterpolateOptions
from napari_emsynth.methods.interpolate.plan import REACH, Marks, Repair, masked_regions, output_order, plan_repairs
from napari_emsynth.methods.public import public
from napari_emsynth.methods.request import heard, params_of, scale_notices, weights_of, weights_record
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.trust.intact import LeftOut, left_out
from napari_emsynth.trust.look import SMALLEST, checked_look
from napari_emsynth.trust.selfcheck import Calibration, SelfCheck
from napari_emsynth.trust.validity import Emptiness, stated
from napari_emsynth.volume import Array, Volume

# A section counts as constant when its central values spread less than this share of its mean.
CONSTANT = 1e-6
NOTHING_ASKED = "nothing to replace: no section is named, so the result holds the voxels of the input"
# What sections that look damaged are left out of.
LEFT_OUT_OF = "the self-check, and of the neighbours where others are near"


@public
def interpolate(
    volume: Volume, options: InterpolateOptions, runtime: Runtime, *, mask: Volume | Array | None = None
) -> Result:
    """Replace damaged sections, parts of sections, or insert missing ones.

    Args:
        volume: [z, y, x] a Volume or an array of any real dtype. Lazy in (dask, zarr) gives lazy out: a section is
            computed when it is read.
        mask: [z, y, x] of the volume's shape, non-zero = replace; alone, or besides ``sections``. Without one, an
            empty list of sections gives the volume as it is.
        {options}

    Returns:
        volume, synthetic mask (uint8), uncertainty (float32, half width of the 90 % interval in source units), and
        provenance.

    Raises:
        InputError: bad sections, mask, parameters, weights or look; nothing marked; nothing intact left.
        Cancelled: the runtime's token was cancelled.
    """
    method = options.method or default("interpolate")
    spec, wanted = get("interpolate", method), checked_look(options.look)
    if mask is not None:
        options.check_mask()
    grid = spec.grid(volume.grid, options)
    notices: list[str] = []
    runtime = heard(runtime, notices)
    marks, mask_volume, order, found = _marks(volume, options, mask, runtime, notices)
    job = Job(
        volume,
        mask_volume,
        marks,
        method,
        params_of(spec, options.params),
        weights_of(spec, options.weights),
        runtime,
        wanted,
    )
    nothing = mask is None and options.listed("sections", volume.shape[0]) == ()
    notices += (
        ["nothing to replace: no section is named, so the result holds the voxels of the input"] if nothing else []
    )
    repairs = [] if nothing else plan_repairs(marks, order)
    notices += found.notices(LEFT_OUT_OF) + _one_sided(repairs) + _poor(repairs, found)
    fits = {k: job.fit(repair) for k, repair in enumerate(repairs)} if job.fitted() else {}
    notices += _fit_notices(repairs, fits) + _long(repairs)
    checks = _selfchecks(job, repairs) if options.selfcheck else {}
    notices += _verdicts(spec, repairs, checks) + scale_notices(spec, job.weights, volume)
    found_of = {k: c.calibration for k, c in checks.items() if c is not None}
    if wanted == "natural":
        found_of = _looks(job, repairs, found_of)
        notices += _look_notices(repairs, found_of)
    draw = render.lazy if volume.is_lazy else render.eager
    arrays = draw(job, order, repairs, found_of)
    record = _provenance(spec, job, repairs, checks, fits, found_of, notices, found)
    result = Result(
        volume=Volume(arrays.values, grid, volume.name, volume.metadata),
        synthetic=Volume(arrays.synthetic, grid, f"{volume.name} synthetic"),
        uncertainty=Volume(arrays.half_width, grid, f"{volume.name} uncertainty"),
        provenance=record,
    )
    served = {z for repair in repairs for z in (repair.below, repair.above) if z is not None}
    return chained(result, stated(volume, served), carry(order, repairs, mask_volume))


def carry(order: Sequence[int | None], repairs: Sequence[Repair], mask: Volume | None) -> Carry:
    """Return how marks go along: with their sections; where a repair draws, a voxel is empty if both sides are."""

    def empty(earlier: Any, _made: Any) -> Any:
        kept, xp = gathered(earlier, order), library(earlier)
        drawn: dict[int, Any] = {}
        for repair in repairs:
            sides = [earlier[z] for z in (repair.below, repair.above) if z is not None]
            inside: Any = np.zeros(earlier.shape[1:], bool)
            inside[repair.window] = True
            if repair.treatment == "masked" and mask is not None and repair.source is not None:
                inside = inside & (like(mask.data, earlier)[repair.source] != 0)
            k = repair.section
            both = xp.minimum(sides[0], sides[-1])
            drawn[k] = xp.where(inside, both, drawn.get(k, kept[k]))
        return overlaid(kept, drawn)

    return Carry(marks=partial(gathered, sources=order), empty=empty)


def _marks(
    volume: Volume, options: InterpolateOptions, mask: Volume | Array | None, runtime: Runtime, notices: list[str]
) -> tuple[Marks, Volume | None, list[int | None], LeftOut]:
    """Check what the user marked, bring it in order, and find out what else looks damaged."""
    count = volume.shape[0]
    chosen = sorted(options.listed("sections", count) or ())
    usable = _Usable(volume, notices)
    if options.insert:
        found = left_out(volume, {z - 1 for z in chosen} | set(chosen), runtime=runtime)
        marks = Marks(volume.shape, set(), {}, usable, found.kinds)
        return marks, None, output_order(count, chosen), found
    replaced = set(chosen)
    mask_volume, regions = None, {}
    if mask is not None:
        mask_volume = mask if isinstance(mask, Volume) else Volume.of(mask)
        if mask_volume.shape != volume.shape:
            raise InputError(f"the mask's shape {mask_volume.shape} differs from the volume's {volume.shape} voxels")
        regions = masked_regions(mask_volume, runtime.cancel)
    if len(replaced) == count:
        raise InputError(f"all {count} sections are marked; at least 1 intact section is needed")
    regions = {z: windows for z, windows in regions.items() if z not in replaced}
    found = left_out(volume, {*replaced, *regions}, runtime=runtime, named=replaced)
    return Marks(volume.shape, replaced, regions, usable, found.kinds), mask_volume, list(range(count)), found


@dataclass
class _Usable:
    """Whether a section can serve as a neighbour: not missing or without finite values, not constant among others."""

    volume: Volume
    notices: list[str]

    def __call__(self, z: int) -> bool:
        section = self.volume.section(z)
        finite = section[np.isfinite(section)] if section.dtype.kind == "f" else section
        if finite.size == 0:
            self.notices.append(f"section {z} has no finite value; it does not serve as a neighbour")
            return False
        if Emptiness(self.volume).missing(z):
            self.notices.append(f"section {z} is missing; it does not serve as a neighbour")
            return False
        if finite.size > 1 and finite.min() == finite.max() and self._varied():
            self.notices.append(f"section {z} is constant ({finite.flat[0]}); it does not serve as a neighbour")
            return False
        return True

    def _varied(self) -> bool:
        """A stack whose middle and outer sections are all constant may be constant by nature."""
        count = self.volume.shape[0]
        for z in {0, count // 4, count // 2, 3 * count // 4, count - 1}:
            section = self.volume.section(z)
            if np.nanmin(section) != np.nanmax(section):
                return True
        return False


def _one_sided(repairs: Sequence[Repair]) -> list[str]:
    return [
        f"section {r.section} has an intact neighbour on one side only; it is extrapolated from "
        f"section {r.below if r.below is not None else r.above}"
        for r in repairs
        if r.below is None or r.above is None
    ]


def _fit_notices(repairs: Sequence[Repair], fits: Mapping[int, Fit]) -> list[str]:
    """Say where the volume had too little to fit the filter on."""
    lines = []
    for source, instead in (
        ("bundled", "a filter fitted on other tissue stands in"),
        ("linear", "the sections are mixed linearly instead"),
    ):
        of = sorted({repairs[k].section for k, fit in fits.items() if fit.source == source})
        if of:
            lines.append(
                f"the filter of {_listed(of)} could not be fitted on this volume, which has fewer than {LEAST_PLACES} "
                f"intact sections with neighbours at the same distances: {instead}"
            )
    return lines


def _poor(repairs: Sequence[Repair], found: LeftOut) -> list[str]:
    """Say so when a section that looks damaged serves after all."""
    served = {z: r.section for r in repairs for z in (r.below, r.above) if z is not None and z in found}
    return [
        f"no intact neighbour of section {section} is near: section {z} serves, which looks {found.kinds[z]}"
        for z, section in served.items()
    ]


def _long(repairs: Sequence[Repair]) -> list[str]:
    """Say so where more sections are lost in a row than anything was measured on."""
    far = sorted({r.section for r in repairs if r.span > REACH})
    if not far:
        return []
    beyond = f"further from acquired sections than a run of {REACH - 1} lost ones"
    return [f"{_listed(far)}: {beyond}, and nothing that far was tested; look at what was made there"]


def _looks(job: Job, repairs: Sequence[Repair], calibrations: Mapping[int, Calibration]) -> dict[int, Calibration]:
    """Add the natural look to what was found for every repair."""
    plain = Calibration(factor=job.built().factor)
    return {k: job.with_look(r, calibrations.get(k, plain)) for k, r in enumerate(repairs)}


def _look_notices(repairs: Sequence[Repair], calibrations: Mapping[int, Calibration]) -> list[str]:
    """Say where no look could be measured."""
    without = sorted({repairs[k].section for k, c in calibrations.items() if c.look is None})
    if not without:
        return []
    why = f"it is measured on intact sections at the same distances, at least {SMALLEST} px high and wide"
    return [f"no natural look for {_listed(without)}: {why}, and there are none; the accurate mean is given"]


def _selfchecks(job: Job, repairs: Sequence[Repair]) -> dict[int, SelfCheck | None]:
    """Check every repair (repairs that share samples share the work); by position in ``repairs``."""
    checks: dict[int, SelfCheck | None] = {}
    for k, repair in enumerate(repairs):
        job.runtime.cancel.check()
        job.runtime.progress(k, len(repairs), f"self-check for section {repair.section}")
        checks[k] = job.check(repair)
    return checks


def _verdicts(spec: MethodSpec, repairs: Sequence[Repair], checks: dict[int, SelfCheck | None]) -> list[str]:
    unchecked = sorted({repairs[k].section for k, c in checks.items() if c is None})
    lines = _advices(spec, repairs, checks)
    if unchecked:
        lines.append(
            f"no intact sections at the same distances near {_listed(unchecked)}: not self-checked, "
            "and the uncertainty is not calibrated on this volume"
        )
    return lines


def _advices(spec: MethodSpec, repairs: Sequence[Repair], checks: dict[int, SelfCheck | None]) -> list[str]:
    """Say what to do where the method loses: a line for each thing to do, with the scores of the first section."""
    alike: dict[str | None, list[int]] = {}
    for k, check in checks.items():
        if check is not None and (found := _advice(spec, check)) is not None:
            alike.setdefault(found.instead, []).append(k)
    lines = []
    for ks in alike.values():
        first = checks[ks[0]]
        assert first is not None
        lines.append(_told(spec, first, sorted({repairs[k].section for k in ks}))["advice"] or "")
    return lines


def _advice(spec: MethodSpec, check: SelfCheck) -> Advice | None:
    return advice(spec, {**check.baselines, spec.id: check.psnr})


def _told(spec: MethodSpec, check: SelfCheck, near: Sequence[int]) -> dict[str, str | None]:
    """Return what to use instead near some sections, and why."""
    return told(_advice(spec, check), f"on intact sections near {_listed(near)}")


def _listed(sections: Sequence[int]) -> str:
    shown = ", ".join(str(z) for z in sections[:8]) + (", ..." if len(sections) > 8 else "")
    return f"section{'s' if len(sections) > 1 else ''} {shown}"


def _provenance(
    spec: MethodSpec,
    job: Job,
    repairs: Sequence[Repair],
    checks: dict[int, SelfCheck | None],
    fits: dict[int, Fit],
    calibrations: Mapping[int, Calibration],
    notices: list[str],
    found: LeftOut,
) -> dict[str, Any]:
    return provenance.record(
        task="interpolate",
        method=spec.id,
        weights=weights_record(spec, job.weights),
        params=job.params.to_json(),
        seed=job.runtime.seed,
        source=provenance.Source.of(job.volume),
        look=job.look,
        sections=[
            _section_record(spec, job, r, checks.get(k), fits.get(k)) | {"look": _look_record(r, calibrations.get(k))}
            for k, r in enumerate(repairs)
        ],
        left_out=found.to_json(),
        notices=notices,
        device=job.runtime.device,
        precision=job.runtime.precision,
        tile=job.runtime.tile,
    )


def _section_record(
    spec: MethodSpec, job: Job, repair: Repair, check: SelfCheck | None, fit: Fit | None
) -> dict[str, Any]:
    one_sided = repair.below is None or repair.above is None
    return {
        "section": repair.section,
        "treatment": repair.treatment,
        "window": [[s.start, s.stop] for s in repair.window],
        "mask": job.mask_digest(repair),
        "below": repair.below,
        "above": repair.above,
        "t": repair.t,
        "span": repair.span,
        "note": "extrapolated from one side" if one_sided else "",
        "served": [repair.known[o] for o in job.offsets(repair)],
        "fit": fit.told() if fit is not None else None,
        "selfcheck": None if check is None else check.to_json() | _told(spec, check, [repair.section]),
    }


def _look_record(repair: Repair, calibration: Calibration | None) -> dict[str, Any] | None:
    """Return which section lent its grain, and how much of it; None for the mean as it is."""
    if calibration is None or calibration.look is None or calibration.borrowed is None:
        return None
    return {"borrowed_from": repair.known[calibration.borrowed], **calibration.look.told()}
