"""``emsynth upsample``: thinner sections."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.volume_tasks import Out, Weights, make


def upsample(
    source: Source,
    out: Out,
    *,
    factor: Annotated[
        float, typer.Option(metavar="K", help="Output sections a section, 2 to 12; point takes fractions.")
    ],
    sampling: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="point: sections are thin samples; slab: averages over their thickness."
        ),
    ] = "point",
    method: Annotated[
        str | None,
        typer.Option(metavar="ID", help="See emsynth methods; by default the first that can do this."),
    ] = None,
    weights: Weights = None,
    values: dict[str, Any],
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Make sections thinner: put new ones between them (point) or divide each (slab)."""
    from napari_emsynth.methods.upsample import upsample as task

    make(
        lambda volume, runtime: task(
            volume,
            factor,
            sampling=sampling,
            method=method,
            weights=weights,
            params=values,
            runtime=runtime,
        ),
        source,
        out,
        common,
        save,
        cluster,
    )
