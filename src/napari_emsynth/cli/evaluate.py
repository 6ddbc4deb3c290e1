"""``emsynth evaluate``: score a method on intact sections as if they were missing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Common, Source
from napari_emsynth.cli.screen import Screen, table


def evaluate(
    name: Annotated[str, typer.Argument(metavar="TASK/ID", help="Such as interpolate/emsynth.")],
    source: Source,
    *,
    gap: Annotated[
        int, typer.Option(metavar="N", help="Sections to the nearest neighbour that may be looked at.")
    ] = 1,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Bundled weights or a .safetensors file.")
    ] = None,
    common: Common,
) -> None:
    """Leave intact sections out, make them again, and score the result beside the floors."""
    from napari_emsynth import evaluate as task

    with Screen(as_json=common.json) as screen:
        runtime = common.runtime(screen)
        scores = task(name, common.open(source, screen), gap=gap, weights=weights, runtime=runtime)
        screen.answer({**scores, "source": str(source), "notices": screen.notes}, describe(scores))


def describe(scores: dict[str, Any]) -> str:
    """Return the scores for a person: a row a method."""
    measures = list(next(iter(scores["scores"].values())))
    rows = [
        (method, *(f"{values[measure]:.3f}" for measure in measures))
        for method, values in scores["scores"].items()
    ]
    verdict = (
        "better than every floor" if scores["beats_floors"] else "NOT better than every floor: prefer linear"
    )
    count = len(scores["sections"])
    head = (
        f"{scores['method']}, gap {scores['gap']}, {count} section(s), {scores['seconds']:.1f} s: {verdict}"
    )
    return f"{head}\n{table(('method', *measures), rows)}"
