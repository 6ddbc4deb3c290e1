"""Interpolation as a user asks for it: marked sections in, a result with its error estimate out.

Laws: the input is never modified; every voxel outside the marked sections and mask is bit-identical; numpy in gives
numpy out, and dask or zarr in gives dask arrays that compute only what is read; both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.interpolate import render
from napari_emsynth.methods.interpolate.fit import LEAST_PLACES, Fit
from napari_emsynth.methods.interpolate.job import Job
from napari_emsynth.methods.interpolate.plan import (
    Marks,
    Repair,
    check_sections,
    masked_regions,
    output_order,
    plan_repairs,
)
from napari_emsynth.methods.request import heard, params_of, scale_notices, weights_of, weights_record
from napari_emsynth.params import Params
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.trust import provenance
from napari_emsynth.trust.selfcheck import SelfCheck
from napari_emsynth.volume import Array, Volume

# A section counts as constant when its central values spread less than this share of its mean.
CONSTANT = 1e-6


def interpolate(
    volume: Volume | Array,
    sections: Sequence[int] | None = None,
    *,
    mask: Volume | Array | None = None,
    insert: bool = False,
    method: str = "emsynth",
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    runtime: Runtime = Runtime(),
    selfcheck: bool = True,
) -> Result:
    """Synthesise missing or damaged sections, or damaged parts of sections.

    Args:
        volume: [z, y, x] Volume or array; numpy, memmap, dask or zarr, any real dtype.
        sections: indices into the input. Replaced; or, with ``insert``, a new section goes before each (an index
            given twice inserts two).
        mask: [z, y, x] of the input's shape, non-zero = replace; together with ``sections`` both are replaced.
        insert: insert new sections instead of replacing.
        method: id, see ``methods("interpolate")``.
        weights: name or file; None takes the method's default.
        params: of the method.
        voxel_nm: (z, y, x) in nm, where ``volume`` does not state it.
        runtime: device, precision, tile, seed, progress, cancel.
        selfcheck: repeat each repair on nearby intact sections, report the error beside the floors, and calibrate
            the uncertainty there.

    Returns:
        volume, synthetic mask (uint8), uncertainty (float32, half width of the 90 % interval in source units), and
        provenance. For dask or zarr input these are lazy.

    Raises:
        InputError: bad sections, mask, parameters or weights; nothing marked; nothing intact left.
        Cancelled: after ``runtime.cancel``.
    """
    volume = Volume.of(volume, voxel_nm=voxel_nm)
    spec = get("interpolate", method)
    notices: list[str] = []
    runtime = heard(runtime, notices)
    marks, mask_volume, order = _marks(volume, sections, mask, insert, runtime, notices)
    job = Job(volume, mask_volume, marks, method, params_of(spec, params), weights_of(spec, weights), runtime)
    repairs = plan_repairs(marks, order)
    notices += _one_sided(repairs)
    fits = {k: job.fit(repair) for k, repair in enumerate(repairs)} if job.fitted() else {}
    notices += _fit_notices(repairs, fits)
    checks = _selfchecks(job, repairs) if selfcheck else {}
    notices += _verdicts(spec, repairs, checks) + scale_notices(spec, job.weights, volume)
    draw = render.lazy if volume.is_lazy else render.eager
    arrays = draw(job, order, repairs, {k: c.calibration for k, c in checks.items() if c is not None})
    grid = replace(volume.grid, shape=(len(order), *volume.shape[1:]))
    record = _provenance(spec, job, repairs, checks, fits, notices, mask_volume is not None)
    return Result(
        volume=Volume(arrays.values, grid, volume.name, volume.metadata),
        synthetic=Volume(arrays.synthetic, grid, f"{volume.name} synthetic"),
        uncertainty=Volume(arrays.half_width, grid, f"{volume.name} uncertainty"),
        provenance=record,
    )


def _marks(
    volume: Volume,
    sections: Sequence[int] | None,
    mask: Volume | Array | None,
    insert: bool,
    runtime: Runtime,
    notices: list[str],
) -> tuple[Marks, Volume | None, list[int | None]]:
    """Check what the user marked and bring it in order."""
    count = volume.shape[0]
    chosen = check_sections(list(sections or ()), count, insert=insert)
    if insert and mask is not None:
        raise InputError(
            "a mask replaces voxels of existing sections; it cannot be used when sections are inserted"
        )
    usable = _Usable(volume, notices)
    if insert:
        return Marks(volume.shape, set(), {}, usable), None, output_order(count, chosen)
    replaced = set(chosen)
    mask_volume, regions = None, {}
    if mask is not None:
        mask_volume = mask if isinstance(mask, Volume) else Volume.of(mask)
        if mask_volume.shape != volume.shape:
            raise InputError(
                f"the mask's shape {mask_volume.shape} differs from the volume's {volume.shape} voxels"
            )
        regions = masked_regions(mask_volume, runtime.cancel)
    if len(replaced) == count:
        raise InputError(f"all {count} sections are marked; at least 1 intact section is needed")
    regions = {z: windows for z, windows in regions.items() if z not in replaced}
    return Marks(volume.shape, replaced, regions, usable), mask_volume, list(range(count))


@dataclass
class _Usable:
    """Whether a section can serve as a neighbour: not without finite values, not constant among varied ones."""

    volume: Volume
    notices: list[str]

    def __call__(self, z: int) -> bool:
        section = self.volume.section(z)
        finite = section[np.isfinite(section)] if section.dtype.kind == "f" else section
        if finite.size == 0:
            self.notices.append(f"section {z} has no finite value; it does not serve as a neighbour")
            return False
        if finite.size > 1 and finite.min() == finite.max() and self._varied():
            self.notices.append(
                f"section {z} is constant ({finite.flat[0]}); it does not serve as a neighbour"
            )
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


def _selfchecks(job: Job, repairs: Sequence[Repair]) -> dict[int, SelfCheck | None]:
    """Check every repair (repairs that share samples share the work); by position in ``repairs``."""
    checks: dict[int, SelfCheck | None] = {}
    for k, repair in enumerate(repairs):
        job.runtime.cancel.check()
        job.runtime.progress(k, len(repairs), f"self-check for section {repair.section}")
        checks[k] = job.check(repair)
    return checks


def _verdicts(spec: MethodSpec, repairs: Sequence[Repair], checks: dict[int, SelfCheck | None]) -> list[str]:
    worse = sorted({repairs[k].section for k, c in checks.items() if c is not None and not c.beats_floors})
    unchecked = sorted({repairs[k].section for k, c in checks.items() if c is None})
    lines = []
    if worse and spec.id != "linear":
        c = next(c for c in checks.values() if c is not None and not c.beats_floors)
        best = max(("nearest", "linear", "blurred_linear"), key=lambda name: getattr(c, name))
        lines.append(
            f"{spec.title} does not beat the floors on intact sections near {_listed(worse)} "
            f"({c.psnr:.1f} dB, {best.replace('_', ' ')} {getattr(c, best):.1f} dB); linear is offered instead"
        )
    if unchecked:
        lines.append(
            f"no intact sections at the same distances near {_listed(unchecked)}: not self-checked, "
            "and the uncertainty is not calibrated on this volume"
        )
    return lines


def _listed(sections: Sequence[int]) -> str:
    shown = ", ".join(str(z) for z in sections[:8]) + (", ..." if len(sections) > 8 else "")
    return f"section{'s' if len(sections) > 1 else ''} {shown}"


def _provenance(
    spec: MethodSpec,
    job: Job,
    repairs: Sequence[Repair],
    checks: dict[int, SelfCheck | None],
    fits: dict[int, Fit],
    notices: list[str],
    masked: bool,
) -> dict[str, Any]:
    return provenance.record(
        task="interpolate",
        method=spec.id,
        weights=weights_record(spec, job.weights),
        params=job.params.to_json(),
        seed=job.runtime.seed,
        source={
            "name": job.volume.name,
            "shape": list(job.volume.shape),
            "dtype": str(job.volume.dtype),
            "voxel_nm": list(job.volume.grid.voxel_nm) if job.volume.grid.voxel_nm else None,
            "mask": masked,
        },
        sections=[_section_record(job, r, checks.get(k), fits.get(k)) for k, r in enumerate(repairs)],
        notices=notices,
        device=job.runtime.device,
    )


def _section_record(job: Job, repair: Repair, check: SelfCheck | None, fit: Fit | None) -> dict[str, Any]:
    one_sided = repair.below is None or repair.above is None
    return {
        "section": repair.section,
        "treatment": repair.treatment,
        "window": [[s.start, s.stop] for s in repair.window],
        "below": repair.below,
        "above": repair.above,
        "t": repair.t,
        "span": repair.span,
        "note": "extrapolated from one side" if one_sided else "",
        "served": [repair.known[o] for o in job.offsets(repair)],
        "fit": fit.told() if fit is not None else None,
        "selfcheck": check.to_json() if check is not None else None,
    }
