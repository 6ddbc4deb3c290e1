"""Evaluation of alignment: jitter sections by known shifts, align them, score them beside the floors.

Every figure is a mean over the sections, against the unjittered ones, see :mod:`napari_emsynth.metrics.scores`. The
floors are ``jittered``, the input as it is, and ``blurred_z``, its sections smoothed along z: that wins PSNR too.
``cpc`` is the chunked Pearson correlation of neighbours: it should come near the truth's and not exceed it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_emsynth.errors import InputError
from napari_emsynth.methods import default
from napari_emsynth.methods.align.jitter import Jittered, jitter
from napari_emsynth.methods.align.task import check_sections
from napari_emsynth.methods.request import Request
from napari_emsynth.metrics.registration import stack_cpc
from napari_emsynth.metrics.scores import Table, score
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

# The middle of a volume that is scored: networks in three dimensions take their time.
EDGE = 512
# Rough alignment is a matter of pixels; beyond this it is not a refinement.
MAX_SIGMA_PX = 8
BLUR_SECTIONS = 1.0


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
        gap: deviation of the shifts in px, 1 to 8.
        runtime: how to compute.
        limit: most sections to score, from the middle of the stack.

    Returns:
        JSON object: scores of the method and of the floors, the chunked Pearson correlations, and whether the method
        beats every floor's PSNR.

    Raises:
        InputError: too few sections, a jitter out of range.
    """
    started = time.monotonic()
    if not 1 <= gap <= MAX_SIGMA_PX:
        raise InputError(f"gap of {gap} px (deviation of the jitter) is outside 1 to {MAX_SIGMA_PX} px")
    request = Request.of(
        "align", volume, method or default("align"), weights=weights, params=None, voxel_nm=None, runtime=runtime
    )  # fmt: skip
    check_sections(min(request.volume.shape[0], limit))
    known = jitter(request.volume, gap, runtime.seed, edge=EDGE, depth=limit)
    runtime.progress(0, 1, f"aligning {len(known.whole)} sections")
    answers = {request.method: known.aligned(request), **_floors(known)}
    scores = _scores(known, answers)
    rivals = [s["psnr"] for name, s in scores.items() if name != request.method]
    return {
        "task": "align",
        "method": request.method,
        "weights": request.weights,
        "gap": gap,
        "sections": [known.first + z for z in range(len(known.whole))],
        "scores": scores,
        "cpc": {name: _cpc(known, stack) for name, stack in {"truth": known.whole, **answers}.items()},
        "coverage90": None,
        "beats_floors": scores[request.method]["psnr"] >= max(rivals),
        "seconds": round(time.monotonic() - started, 3),
    }


def _floors(known: Jittered) -> dict[str, Array]:
    """Return what needs no model, each [z, y, x]."""
    stack = known.volume.data
    smooth = gaussian_filter1d(stack.astype(np.float32), BLUR_SECTIONS, axis=0, mode="nearest")
    return {"jittered": stack, "blurred_z": to_dtype(smooth, stack.dtype)}


def _scores(known: Jittered, answers: dict[str, Array]) -> dict[str, dict[str, float]]:
    table = Table()
    truth = known.inner(known.whole).astype(np.float32)
    for name, stack in answers.items():
        for section, true in zip(known.inner(stack).astype(np.float32), truth, strict=True):
            table.add(name, score(section, true, known.peak))
    return table.means()


def _cpc(known: Jittered, stack: Array) -> float:
    return round(stack_cpc(known.inner(stack)), 4)
