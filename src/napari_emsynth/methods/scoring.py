"""What the evaluation of every task has in common: what is left out, who else is asked, and the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.advice import Advice, advice, verdict
from napari_emsynth.methods.request import Request, params_of
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.trust.intact import LeftOut

Scores = Mapping[str, Mapping[str, float]]


def check_limit(limit: int) -> None:
    """Refuse to score no section at all.

    Raises:
        InputError: the limit is below 1 section.
    """
    if limit < 1:
        raise InputError(f"limit of {limit} sections is below the limit of 1 section")


def tell(found: LeftOut, runtime: Runtime) -> None:
    """Say which sections are left out of what is scored."""
    for line in found.notices("what is scored"):
        runtime.note(line)


def by_rival(request: Request, method: str) -> Request:
    """Return the same request to a method that needs no weights, with its own parameters."""
    params = params_of(get(request.task, method), None)
    return replace(request, method=method, params=params, weights=None)


def lost(spec: MethodSpec, scores: Scores, called: Mapping[str, str] | None = None) -> Advice | None:
    """Return what to do where a rival has the higher PSNR; ``called``: what advice calls some of them."""
    names = called or {}
    return advice(spec, {names.get(name, name): values["psnr"] for name, values in scores.items()})


def report(
    spec: MethodSpec,
    weights: str | None,
    started: float,
    *,
    sections: Sequence[int],
    scores: Scores,
    found: Advice | None,
    where: str,
    damage: LeftOut,
    coverage90: float | None = None,
    **asked: Any,
) -> dict[str, Any]:
    """Return the JSON object that every evaluation ends in.

    Args:
        spec: of the method.
        weights: by which it answered.
        started: when, by the monotonic clock.
        sections: of the user's volume that were scored.
        scores: by method and rival.
        found: what to do where a rival won.
        where: the rivals were scored, such as "on hidden sections of this volume".
        damage: what was left out.
        coverage90: share of what lies within the stated 90 % interval.
        asked: what else the task tells, such as ``gap``.
    """
    return {
        "task": spec.task,
        "method": spec.id,
        "weights": weights,
        **asked,
        "sections": list(sections),
        "scores": scores,
        "coverage90": coverage90,
        **verdict(found, where),
        "left_out": damage.to_json(),
        "seconds": round(time.monotonic() - started, 3),
    }
