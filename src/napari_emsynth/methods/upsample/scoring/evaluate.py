"""Evaluation of upsampling: keep every k-th section, make up the others, score them beside the floors.

Every figure is a mean over the hidden sections, see :mod:`napari_emsynth.metrics.scores`. The 90 % interval is the one
that is stated in use: it is calibrated on what is left of the volume, never on what was hidden.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import default, get
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.scoring import check_limit, lost, report, tell
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import HIGHEST, LEAST_SECTIONS, check_factor
from napari_emsynth.methods.upsample.repair import Damage, mended
from napari_emsynth.methods.upsample.scoring.hidden import Hidden, hide
from napari_emsynth.methods.upsample.scoring.selfcheck import calibration, check, drawn_by
from napari_emsynth.metrics.image import coverage
from napari_emsynth.metrics.scores import Table
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import left_out
from napari_emsynth.trust.selfcheck import baselines
from napari_emsynth.volume import Array, Volume

# The middle of a volume that is scored: networks in three dimensions take their time.
EDGE = 512


def evaluate(
    volume: Volume | Array,
    *,
    method: str | None = None,
    weights: str | None = None,
    gap: int = 1,
    runtime: Runtime = Runtime(),
    limit: int = 16,
    sampling: str | None = None,
) -> dict[str, Any]:
    """Score a method on sections that were left out, as if the volume were thicker.

    Args:
        volume: [z, y, x].
        method: id, None for the default.
        weights: name or file, None for the default.
        gap: sections left out between two that are kept: the factor less one, 1 to 11.
        runtime: how to compute.
        limit: about how many sections to leave out, from the middle of the stack.
        sampling: "point" or "slab"; None takes the method's first.

    Returns:
        JSON object: scores of the method and of the floors, the share of voxels inside the stated 90 % interval
        ("coverage90", None of methods without one), what it was calibrated on, whether the method beats every floor's
        PSNR, what to use instead where it does not, and which sections look damaged: they are repaired and not scored.

    Raises:
        InputError: too few sections, a gap that the method cannot fill.
    """
    started = time.monotonic()
    if not 1 <= gap < HIGHEST:
        raise InputError(f"gap of {gap} sections is outside 1 to {HIGHEST - 1} sections")
    check_limit(limit)
    method = method or default("upsample")
    spec = get("upsample", method)
    wanted = sampling or (spec.samplings[0] if spec.samplings else "point")
    factor, known = check_factor(spec, gap + 1, wanted)
    request = Request.of("upsample", volume, method, weights=weights, params=None, runtime=runtime)
    depth = max(LEAST_SECTIONS, -(-limit // gap) + 1) * (gap + 1)
    z = middle(request.volume.shape[0], depth)
    damage = Damage({}, left_out(request.volume, range(z.start, z.stop), runtime=runtime))
    tell(damage.found, runtime)
    whole = mended(request.volume, damage.all_repaired, runtime)
    hidden = hide(whole, int(factor), known, edge=EDGE, depth=depth, unfit=damage.unfit)
    if hidden is None:
        raise InputError(f"a gap of {gap} sections needs at least {gap + 2} sections, got {request.volume.shape[0]}")
    runtime.progress(0, 1, f"upsampling by {factor:g}")
    job, measured_on = _calibrated(hidden, request)
    values, half = hidden.drawn(job)
    here = hidden.sections
    scores = _scores(hidden, values, request)
    # Linear interpolation is moved to where slab means hold where it is the method.
    called = {} if method == "linear" else hidden.called
    covered = None if measured_on is None else coverage(hidden.known(here), values[here], half[here])
    return report(
        spec,
        request.weights,
        started,
        gap=gap,
        factor=factor,
        sampling=known,
        sections=[hidden.first + section for section in here],
        scores=scores,
        found=lost(spec, scores, called),
        where="on hidden sections of this volume",
        damage=damage.found,
        coverage90=None if covered is None else round(covered, 4),
        calibrated_on=measured_on,
    )


def _calibrated(hidden: Hidden, request: Request) -> tuple[Job, str | None]:
    """Return the job as a user has it who knows the thin volume only: calibrated there; and what on, if at all."""
    job = hidden.job(request)
    if not request.spec.has_uncertainty:
        return job, None
    found = check(job.request, hidden.lattice, hidden.repaired)
    factor, measured_on = calibration(job, found)
    return replace(job, calibration=factor, blend_weight=found.blend_weight), measured_on


def _scores(hidden: Hidden, answer: Array, request: Request) -> dict[str, dict[str, float]]:
    """Score every hidden section of the answer, and what needs no model."""
    table = Table()
    slab = hidden.lattice.sampling == "slab"
    drawn = {} if request.method == "kriging" else {"kriging": drawn_by(hidden, request, "kriging")}
    if slab:
        drawn["linear_back_projected"] = drawn_by(hidden, request, "linear")
    for section in hidden.sections:
        candidates = baselines(*hidden.linear(section)) | {name: stack[section] for name, stack in drawn.items()}
        candidates.pop(request.method, None)
        table.add({request.method: answer[section], **candidates}, hidden.known(section), hidden.peak)
    return table.means()
