"""Evaluation of alignment: move sections by known displacements, align them, score them beside the floors.

Every figure is a mean over the sections, against the unmoved ones, see :mod:`napari_emsynth.metrics.scores`. The
floors are ``jittered``, the input as it is, and ``blurred_z``, its sections smoothed along z: that wins PSNR too.
``cpc`` is the chunked Pearson correlation of neighbours: it should come near the truth's and not exceed it.

Methods that redraw are shown sections that were shifted. Those that answer with displacements are shown sections that
were shifted, turned and bent, and judged by what they leave of that, ``epe_px``
(:func:`napari_emsynth.metrics.registration.stack_residual`), and by ``folds``; a third floor is ``optical_flow``.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_emsynth.errors import InputError
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods import default
from napari_emsynth.methods.advice import Advice, advice
from napari_emsynth.methods.align.scoring.jitter import Jittered, distort, jitter
from napari_emsynth.methods.align.scoring.selfcheck import dense
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.straighten import straighten
from napari_emsynth.methods.align.task import check_sections, counts
from napari_emsynth.methods.align.unfit import unfit
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.scoring import by_rival, lost, report, tell
from napari_emsynth.metrics.registration import folds, stack_cpc, stack_residual
from napari_emsynth.metrics.scores import Table
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import left_out
from napari_emsynth.volume import Array, Volume

# The middle of a volume that is scored: networks in three dimensions take their time.
EDGE = 512
# Rough alignment is a matter of pixels; beyond this it is not a refinement.
MAX_SIGMA_PX = 8
BLUR_SECTIONS = 1.0
# What displacements must beat, beside doing nothing.
FLOOR = "optical-flow"


def evaluate(
    volume: Volume | Array,
    *,
    method: str | None = None,
    weights: str | None = None,
    gap: int = 1,
    runtime: Runtime = Runtime(),
    limit: int = 16,
) -> dict[str, Any]:
    """Score a method on sections that were moved by known shifts.

    Args:
        volume: [z, y, x] taken as aligned.
        method: id, None for the default.
        weights: name or file, None for the default.
        gap: deviation of the shifts in px, 1 to 8. Sections for displacements are also bent by half of that, and
            turned by a tenth of a degree for every px.
        runtime: how to compute.
        limit: most sections to score, from the middle of the stack.

    Returns:
        JSON object: scores of the method and of the floors, the chunked Pearson correlations, whether the method beats
        every floor (by PSNR, or, where there are displacements, by what is left of the known ones), what to use instead
        where it does not, and which sections look damaged: they are left out.

    Raises:
        InputError: too few sections, a jitter out of range.
    """
    started = time.monotonic()
    if not 1 <= gap <= MAX_SIGMA_PX:
        raise InputError(f"gap of {gap} px (deviation of the jitter) is outside 1 to {MAX_SIGMA_PX} px")
    request = Request.of(
        "align", volume, method or default("align"), weights=weights, params=None, runtime=runtime
    )  # fmt: skip
    check_sections(request, min(request.volume.shape[0], limit))
    runtime.progress(0, 1, f"aligning {min(request.volume.shape[0], limit)} sections")
    z = middle(request.volume.shape[0], limit)
    damage = left_out(request.volume, range(z.start, z.stop), runtime=runtime)
    tell(damage, runtime)
    without = unfit(damage, None, *counts(request))
    found = (_moved if request.spec.answers == "displacement" else _redrawn)(request, gap, limit, without)
    scores, known = _scores(found.known, found.answers), found.known
    return report(
        request.spec,
        request.weights,
        started,
        gap=gap,
        sections=known.sections,
        scores=scores,
        cpc={name: _cpc(known, stack) for name, stack in {"truth": known.whole, **found.answers}.items()},
        **found.figures,
        found=_advised(request, scores, found.figures),
        where="on sections of this volume that were moved",
        damage=damage,
    )


@dataclass(frozen=True)
class _Found:
    """What the method and the floors made of the moved sections.

    Args:
        known: the sections, moved and not.
        answers: by method and floor, [z, y, x].
        figures: more of the report, by method and floor.
    """

    known: Jittered
    answers: dict[str, Array]
    figures: dict[str, Any]


def _redrawn(request: Request, gap: int, limit: int, without: Collection[int]) -> _Found:
    known = jitter(request.volume, gap, request.runtime.seed, edge=EDGE, depth=limit, without=without)
    return _Found(known, {request.method: known.aligned(request), **_floors(known)}, {})


def _moved(request: Request, gap: int, limit: int, without: Collection[int]) -> _Found:
    distortion = Distortion(shift_px=gap, rotation_deg=0.1 * gap, warp_px=0.5 * gap)
    known = distort(request.volume, distortion, request.runtime.seed, edge=EDGE, depth=limit, without=without)
    asked = {request.method: request.on(known.volume)}
    if request.method != FLOOR:
        asked[FLOOR.replace("-", "_")] = by_rival(asked[request.method], FLOOR)
    straight = {name: straighten(r, Constraints(skip=())) for name, r in asked.items()}
    fields = {name: dense(s.alignment.field) for name, s in straight.items()}
    fields["jittered"] = np.zeros_like(fields[request.method])
    figures = {
        "epe_px": {name: round(stack_residual(u, known.known, known.margin), 4) for name, u in fields.items()},
        "folds": {name: round(float(np.mean([folds(s) for s in u])), 6) for name, u in fields.items()},
    }
    answers = {name: np.asarray(s.volume.data) for name, s in straight.items()}
    return _Found(known, answers | _floors(known), figures)


def _advised(
    request: Request, scores: dict[str, dict[str, float]], figures: dict[str, dict[str, float]]
) -> Advice | None:
    """Return what to do where a floor wins: by px of what is left where that is known, else by dB."""
    if "epe_px" in figures:
        return advice(request.spec, figures["epe_px"], unit="px", best=min, ties=True)
    return lost(request.spec, scores)


def _floors(known: Jittered) -> dict[str, Array]:
    """Return what needs no model, each [z, y, x]."""
    stack = known.volume.data
    smooth = gaussian_filter1d(stack.astype(np.float32), BLUR_SECTIONS, axis=0, mode="nearest")
    return {"jittered": stack, "blurred_z": to_dtype(smooth, stack.dtype)}


def _scores(known: Jittered, answers: dict[str, Array]) -> dict[str, dict[str, float]]:
    table = Table()
    inner = {name: known.inner(stack) for name, stack in answers.items()}
    for z, truth in enumerate(known.inner(known.whole)):
        table.add({name: stack[z] for name, stack in inner.items()}, truth, known.peak)
    return table.means()


def _cpc(known: Jittered, stack: Array) -> float:
    return round(stack_cpc(known.inner(stack)), 4)
