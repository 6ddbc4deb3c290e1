"""Displacement fields to files, strip by strip."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.grid import Triple, check_voxel_nm
from napari_emsynth.io.atomic import UNCLAIMED, Claims, check_room, undisturbed, working
from napari_emsynth.io.content import plain
from napari_emsynth.io.fields.format import EDGE, NO_ORIGIN, Head
from napari_emsynth.io.fields.table import format_of
from napari_emsynth.io.output_checks import check_place
from napari_emsynth.spec import CancelToken, Progress, Result, no_progress
from napari_emsynth.volume import Float


def write_field(
    source: Displacement | Result,
    path: str | os.PathLike[str],
    *,
    dense: bool = True,
    overwrite: bool = False,
    voxel_nm: Triple | None = None,
    origin_nm: Triple | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    claims: Claims = UNCLAIMED,
) -> Path:
    """Write a displacement field, strip by strip.

    Args:
        source: the field, or an alignment, whose record goes along.
        path: .npy or .zarr, .ome.zarr (OME-Zarr 0.6 displacements), .nrrd or .mha (ITK), .sofima.npz.
        dense: a vector to every pixel; False keeps the field's own nodes, hundreds of times fewer, which only a .zarr
            can tell from a small volume's field.
        overwrite: replace what is there; it stays until the new one is complete.
        voxel_nm: voxel size (z, y, x) in nm; None takes the field's, or the aligned volume's.
        origin_nm: centre of voxel (0, 0, 0) (z, y, x) in nm; None takes the aligned volume's, or 0.
        provenance: of the field; None takes the alignment's own.
        progress: called after every section.
        cancel: asked between strips.
        claims: outputs that are held already, from before the field was found.

    Returns:
        The path written.

    Raises:
        InputError: see :func:`check_field_output`; an alignment without a field; coarse nodes for another format than
            .zarr; no room.
        Cancelled: nothing is at ``path``.
    """
    path = Path(path)
    if isinstance(source, Result):
        provenance, grid = provenance or source.provenance, source.volume.grid
        source, origin_nm = field_of(source), origin_nm or grid.origin_nm
        voxel_nm = voxel_nm or source.voxel_nm or grid.voxel_nm
    source = replace(source, voxel_nm=check_voxel_nm(voxel_nm) or source.voxel_nm)
    form = format_of(path, "write")
    if not dense and not form.keeps_nodes and source.nodes != source.shape[1:]:
        raise InputError(f"{path} cannot hold coarse nodes: a {form.suffix} does not say which volume they serve")
    check_field_output(path, overwrite=overwrite)
    check_voxels_known(path, source.voxel_nm)
    head = Head(
        field=source,
        nodes=source.shape[1:] if dense else source.nodes,
        origin_nm=origin_nm or NO_ORIGIN,
        record=plain(None if provenance is None else dict(provenance)),
    )
    with working(path, claims) as work:
        check_field_output(path, overwrite=overwrite)  # again: now nobody else can write it
        work.clear()
        check_room(path, form.takes(math.prod((head.sections, *head.nodes))))
        target = form.begin(work, head)
        for z in range(head.sections):
            for rows, strip in _strips(head, z):
                if cancel is not None:
                    cancel.check()
                with undisturbed():
                    target.put(z, rows, strip)
            progress(z + 1, head.sections, "sections of the displacement written")
        with undisturbed():
            target.close()
            work.publish()
    return path


def check_field_output(
    path: str | os.PathLike[str], source: str | os.PathLike[str] | None = None, *, overwrite: bool
) -> None:
    """Refuse a file that a field cannot or must not be written to, before any work.

    Args:
        path: where the field goes.
        source: the input's file or folder; None when it has none.
        overwrite: what is there may be replaced.

    Raises:
        InputError: a suffix of no format, a folder that is missing or read-only, a file that exists.
    """
    path = Path(path)
    check_place(path, source, overwrite, folder=format_of(path, "write").folder)


def check_voxels_known(path: str | os.PathLike[str], voxel_nm: Triple | None) -> None:
    """Refuse a format whose vectors are lengths where nobody knows how long a voxel is.

    Raises:
        InputError: the voxel size is unknown, and ``path`` needs it.
    """
    form = format_of(Path(path), "write")
    if form.physical and voxel_nm is None:
        raise InputError(
            f"cannot write {path}: its vectors are lengths in nm, and the voxel size is unknown; "
            "give --voxel-size z,y,x in nm"
        )


def field_of(result: Result) -> Displacement:
    """Return the field of an alignment.

    Raises:
        InputError: it has none.
    """
    if not isinstance(result.displacement, Displacement):
        raise InputError(
            f"the result of {result.provenance.get('method')} redraws voxels and has no displacement field"
        )
    return result.displacement


def _strips(head: Head, z: int) -> Iterator[tuple[slice, Float]]:
    """Yield rows of one section's field [2, rows, x]."""
    height = head.nodes[0]
    if head.nodes != head.field.shape[1:]:
        yield slice(0, height), head.field.section(z)
        return
    for top in range(0, height, EDGE):
        rows = slice(top, min(top + EDGE, height))
        yield rows, head.field.dense(z, rows)
