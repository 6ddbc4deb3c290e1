"""Evaluation of any method by its name: which task it belongs to decides how it is scored.

The report of every task is a JSON object with at least ``task``, ``method``, ``weights``, ``sections``, ``scores`` (by
method and floor), ``coverage90``, ``beats_floors`` and ``seconds``; and ``gap``, or of superres ``factor``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get_by_name
from napari_emsynth.methods.public import public
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume


@public
def evaluate(
    name: str,
    volume: Volume,
    runtime: Runtime,
    *,
    weights: str | None = None,
    gap: int = 1,
    sections: Sequence[int] | None = None,
    limit: int = 16,
    factor: int | None = None,
    sampling: str | None = None,
) -> dict[str, Any]:
    """Score a method where the volume itself tells the truth, beside the floors.

    Interpolate and upsample leave intact sections out and make them up; align moves sections by a known jitter;
    superres makes pixels coarser.

    Args:
        name: task and id, such as "interpolate/emsynth".
        volume: [z, y, x] a Volume or an array.
        weights: name or file, None for the method's default.
        gap: interpolate: sections to the nearest neighbour that may be looked at; upsample: sections left out between
            two; align: deviation of the jitter in px.
        sections: interpolate: which to hide; None takes up to ``limit``.
        limit: most sections to score.
        factor: superres: by which pixels are made coarser; None takes 8.
        sampling: upsample: "point" leaves sections out, "slab" averages them; None takes the method's first.
        {options}

    Raises:
        InputError: an unknown method, a gap out of range, too few sections, a factor or a sampling of another task.
    """
    spec = get_by_name(name)
    task: Callable[..., dict[str, Any]] = import_module(f"napari_emsynth.methods.{spec.task}.scoring.evaluate").evaluate
    chosen = {} if sections is None else {"sections": sections}
    if chosen and spec.task != "interpolate":
        raise InputError(f"sections cannot be chosen to evaluate {name}; it takes them from the middle")
    if factor is not None and spec.task != "superres":
        raise InputError(f"factor {factor} is for superres; {name} is evaluated by its gap")
    if sampling is not None and spec.task != "upsample":
        raise InputError(f"sampling {sampling} is for upsample; {name} knows none")
    asked: dict[str, Any] = {"factor": factor or 8} if spec.task == "superres" else {"gap": gap}
    if sampling is not None:
        asked["sampling"] = sampling
    return task(volume, method=spec.id, weights=weights, runtime=runtime, limit=limit, **asked, **chosen)
