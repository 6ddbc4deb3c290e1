"""Evaluation of super-resolution: make the pixels coarser, make them finer again, score the result beside the floors.

Every figure is a mean over sections, see :mod:`napari_emsynth.metrics.scores`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods import default, get
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.scoring import by_rival, check_limit, lost, report, tell
from napari_emsynth.methods.superres.limits import check_factor, weights_for
from napari_emsynth.methods.superres.scoring.hidden import CALLED, Hidden, hide, looked_at
from napari_emsynth.metrics.image import coverage
from napari_emsynth.metrics.scores import Table
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import left_out
from napari_emsynth.volume import Array, Volume

# The middle of a volume that is scored, in px of the volume, and the least that coarse sections must have.
EDGE, LEAST = 512, 8


def evaluate(
    volume: Volume | Array,
    *,
    method: str | None = None,
    weights: str | None = None,
    factor: int = 8,
    runtime: Runtime = Runtime(),
    limit: int = 16,
) -> dict[str, Any]:
    """Score a method on sections whose pixels were made coarser.

    Args:
        volume: [z, y, x].
        method: id, None for the default.
        weights: name or file, None for the default.
        factor: 8 or 16.
        runtime: how to compute.
        limit: most sections to score, from the middle of the stack.

    Returns:
        JSON object: scores of the method and of the floors, whether the method beats every floor's PSNR, what to use
        instead where it does not, and which sections look damaged: they are left out.

    Raises:
        InputError: sections that are too small, a factor that the method cannot do.
    """
    started = time.monotonic()
    check_limit(limit)
    spec = get("superres", method or default("superres"))
    factor = check_factor(spec, factor)
    chosen = weights_for(spec, weights, factor)
    request = Request.of("superres", volume, spec.id, weights=chosen, params=None, runtime=runtime)
    damage = left_out(request.volume, looked_at(request, limit), runtime=runtime)
    tell(damage, runtime)
    hidden = hide(request, factor, edge=EDGE // factor, count=limit, least=LEAST, damaged=damage.sections)
    if hidden is None:
        raise InputError(
            f"sections of {request.volume.shape[1]} x {request.volume.shape[2]} px are too small to be made {factor} "
            f"times coarser: the limit is {LEAST * factor} x {LEAST * factor} px"
        )
    scores, covered = _scores(hidden, request)
    return report(
        spec,
        request.weights,
        started,
        factor=factor,
        sections=[hidden.first + section for section in hidden.sections],
        scores=scores,
        found=lost(spec, scores, CALLED),
        where=f"on sections of this volume made {factor} times coarser",
        damage=damage,
        coverage90=covered,
    )


def _scores(hidden: Hidden, request: Request) -> tuple[dict[str, dict[str, float]], float | None]:
    """Score every section, and what needs no model; and the share of pixels inside the stated interval."""
    table, shares = Table(), []
    job, baseline = hidden.job(request), hidden.job(by_rival(request, "bicubic"))
    for done, section in enumerate(hidden.sections):
        request.runtime.cancel.check()
        request.runtime.progress(done, len(hidden.sections), f"section {hidden.first + section}")
        truth, ours = hidden.known(section).astype(np.float32), hidden.drawn(job, section)
        candidates = hidden.candidates(baseline, section)
        candidates.pop(request.method, None)
        table.add({request.method: ours.values[0], **candidates}, truth, hidden.peak)
        if request.spec.has_uncertainty:
            shares.append(coverage(truth, ours.values[0].astype(np.float32), ours.half[0]))
    return table.means(), round(float(np.mean(shares)), 4) if shares else None
