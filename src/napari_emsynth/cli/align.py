"""``emsynth align``: refine the alignment of a roughly aligned stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.volume_tasks import Out, Weights, make
from napari_emsynth.errors import InputError


def align(
    source: Source,
    out: Out,
    *,
    method: Annotated[
        str | None, typer.Option(metavar="ID", help="See emsynth methods; by default the first.")
    ] = None,
    weights: Weights = None,
    displacement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the displacement field, where there is one.")
    ] = None,
    apply_to: Annotated[
        list[str] | None,
        typer.Option(metavar="LABELS=OUT2", help="Move another volume along; may be repeated."),
    ] = None,
    max_displacement_nm: Annotated[
        float | None, typer.Option(metavar="F", help="Largest displacement in nm.")
    ] = None,
    values: dict[str, Any],
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Make the sections of a roughly aligned stack continue each other."""
    from napari_emsynth.methods import default, get
    from napari_emsynth.methods.align import align as task

    spec = get("align", method or default("align"))
    given = {
        f"--displacement {displacement}": displacement,
        f"--apply-to {' '.join(apply_to or ())}": apply_to,
        f"--max-displacement-nm {max_displacement_nm}": max_displacement_nm,
    }
    refuse_displacements(spec.name, [flag for flag, value in given.items() if value not in (None, [])])
    make(
        lambda volume, runtime: task(volume, method=spec.id, weights=weights, params=values, runtime=runtime),
        source,
        out,
        common,
        save,
        cluster,
    )


def refuse_displacements(name: str, flags: list[str]) -> None:
    """Refuse what only a displacement field could do.

    Raises:
        InputError: ``flags`` holds one.
    """
    if flags:
        raise InputError(
            f"{flags[0]}: {name} redraws every voxel and has no displacement to write, to apply or to limit"
        )
