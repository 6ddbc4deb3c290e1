"""``emsynth superres``: finer pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.volume_tasks import Out, Weights, make


def superres(
    source: Source,
    out: Out,
    *,
    factor: Annotated[int, typer.Option(metavar="F", help="By which pixels become smaller: 8 or 16.")],
    method: Annotated[str | None, typer.Option(metavar="ID", help="See emsynth methods.")] = None,
    weights: Weights = None,
    damaged: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Sections that are not looked at when their neighbours are drawn, such as 12,40-42; none for no "
            "section; by default what looks damaged.",
        ),
    ] = None,
    residual: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write how far the method's answer was off what was acquired, on IN's pixels; drawn once more.",
        ),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write where a learned prior had a say, 0 to 1; drawn once more."),
    ] = None,
    values: dict[str, Any],
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Make pixels smaller along y and x, with what neighbouring sections and training tell."""
    from napari_emsynth.errors import InputError
    from napari_emsynth.methods import default, get
    from napari_emsynth.methods.superres import superresolve as task

    spec = get("superres", method or default("superres"))
    if prior is not None and not spec.has_prior:
        raise InputError(f"--prior {prior}: {spec.name} has no learned prior")
    beside = {"residual": residual, "prior": prior}
    make(
        lambda volume, runtime: task(
            volume,
            factor,
            method=method,
            weights=weights,
            params=values,
            damaged="" if damaged == "none" else damaged,
            runtime=runtime,
        ),
        source,
        out,
        common,
        save,
        cluster,
        {name: path for name, path in beside.items() if path is not None},
    )
