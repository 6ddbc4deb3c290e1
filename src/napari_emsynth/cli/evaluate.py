"""``emsynth evaluate``: score a method where the volume itself tells the truth."""

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
        int,
        typer.Option(
            metavar="N",
            help="interpolate: sections to the nearest neighbour; upsample: the factor less one; "
            "align: deviation of the jitter in px.",
        ),
    ] = 1,
    factor: Annotated[
        int | None, typer.Option(metavar="F", help="superres: by which pixels are made coarser, 8 or 16.")
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(metavar="HOW", help="upsample: point (sections are left out) or slab (averaged).")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Bundled weights or a .safetensors file.")
    ] = None,
    common: Common,
) -> None:
    """Leave sections out (jitter them, make them coarser), make them again, and score that beside the floors."""
    from napari_emsynth import evaluate as task

    with Screen(as_json=common.json) as screen:
        runtime = common.runtime(screen)
        volume = common.open(source, screen)
        scores = task(name, volume, gap=gap, factor=factor, sampling=sampling, weights=weights, runtime=runtime)
        screen.answer({**scores, "source": str(source), "notices": screen.notes}, describe(scores))


def describe(scores: dict[str, Any]) -> str:
    """Return the scores for a person: a row a method."""
    measures = list(next(iter(scores["scores"].values())))
    rows = [
        (method, *(f"{values[measure]:.3f}" for measure in measures)) for method, values in scores["scores"].items()
    ]
    verdict = "better than every floor" if scores["beats_floors"] else "NOT better than every floor"
    count = len(scores["sections"])
    what = f"gap {scores['gap']}" if "gap" in scores else f"factor {scores['factor']}"
    what += f" ({scores['sampling']})" if "sampling" in scores else ""
    head = f"{scores['method']}, {what}, {count} section(s), {scores['seconds']:.1f} s: {verdict}"
    advice = [] if scores["advice"] is None else [scores["advice"]]
    return "\n".join([head, table(("method", *measures), rows), *_more(scores), *advice])


def _more(scores: dict[str, Any]) -> list[str]:
    said = {
        "cpc": ("correlation of neighbours", "{:.3f}"),
        "epe_px": ("left of the known displacement, px", "{:.3f}"),
        "folds": ("share of pixels that fold", "{:.2%}"),
    }
    return [
        f"{what}: {', '.join(f'{name} {how.format(value)}' for name, value in scores[key].items())}"
        for key, (what, how) in said.items()
        if key in scores
    ]
