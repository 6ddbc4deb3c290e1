"""``emsynth upsample``: thinner sections."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Look, Save, Source
from napari_emsynth.cli.parse import parse_factor, parse_listed
from napari_emsynth.cli.volume_tasks import Out, Weights, make


def upsample(
    source: Source,
    out: Out,
    *,
    factor: Annotated[
        str,
        typer.Option(
            metavar="K|isotropic", help="Output sections a section, 2 to 12; isotropic for cubic voxels."
        ),
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
    damaged: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Sections repaired first, such as 12,40-42; none for no section; by default blank, black and "
            "repeated ones.",
        ),
    ] = None,
    look: Look = "accurate",
    apply_to: Annotated[
        list[str] | None,
        typer.Option(metavar="LABELS=OUT2", help="Upsample labels along, their ids kept; may be repeated."),
    ] = None,
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
            parse_factor(factor),
            sampling=sampling,
            method=method,
            weights=weights,
            params=values,
            damaged=parse_listed(damaged, volume.shape[0], "--damaged"),
            look=look,
            runtime=runtime,
        ),
        source,
        out,
        common,
        save,
        cluster,
        labels=tuple(apply_to or ()),
    )
