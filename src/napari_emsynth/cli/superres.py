"""``emsynth superres``: finer pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.volume_tasks import Out, make


def superres(
    source: Source,
    out: Out,
    *,
    options: dict[str, Any],
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
    from napari_emsynth.methods.superres.options import SuperresOptions

    asked = SuperresOptions(**options, params=values)
    spec = get("superres", asked.method or default("superres"))
    if prior is not None and not spec.has_prior:
        raise InputError(f"--prior {prior}: {spec.name} has no learned prior")
    beside = {name: path for name, path in {"residual": residual, "prior": prior}.items() if path is not None}
    make("superres", asked, source, out, common, save, cluster, beside)
