"""``emsynth upsample``: thinner sections."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.volume_tasks import Out, make


def upsample(
    source: Source,
    out: Out,
    *,
    options: dict[str, Any],
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
    from napari_emsynth.methods.upsample.options import UpsampleOptions

    asked = UpsampleOptions(**options, params=values)
    make("upsample", asked, source, out, common, save, cluster, labels=tuple(apply_to or ()))
