"""Displacement fields from files: opened lazily, and looked through once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.fit import fitted
from napari_emsynth.grid import Triple, check_voxel_nm
from napari_emsynth.io.fields.format import EDGE, NO_ORIGIN, Format
from napari_emsynth.io.fields.table import format_within
from napari_emsynth.volume import Array, Volume


@dataclass(frozen=True, kw_only=True)
class FieldFile:
    """A field, and what its file says beside.

    Args:
        field: that is read as it is asked for.
        form: of the file.
        origin_nm: centre of voxel (0, 0, 0) of the volume that the field serves.
        record: the field's provenance; None where the file has none.
    """

    field: Displacement
    form: Format
    origin_nm: Triple = NO_ORIGIN
    record: dict[str, Any] | None = None


def open_field(path: str | os.PathLike[str], voxel_nm: Triple | None = None) -> FieldFile:
    """Open a field with all that its file says; its values are looked through once, a strip at a time.

    Args:
        path: in any format of :data:`~napari_emsynth.io.fields.table.FORMATS`.
        voxel_nm: voxel size (z, y, x) in nm where the field was found; replaces what the file states.

    Raises:
        InputError: see :func:`read_field`.
    """
    path = Path(path)
    form = format_within(path)
    found = form.read(path)
    size = check_voxel_nm(voxel_nm) or found.voxel_nm
    field = Displacement(found.data, found.shape, size, found.limit_nm if size is not None else None)
    _check_values(path, field)
    return FieldFile(field=field, form=form, origin_nm=found.origin_nm, record=read_field_record(path))


def read_field(
    path: str | os.PathLike[str], volume: Volume | Array | None = None, voxel_nm: Triple | None = None
) -> Displacement:
    """Read a displacement field lazily; its values are looked through once, a strip at a time.

    Args:
        path: .npy or .zarr, .ome.zarr (OME-Zarr 0.6 displacements), .nrrd or .mha (ITK), .sofima.npz.
        volume: [z, y, x] what is to be moved: the field is fitted to it, so that one found on a binned copy serves
            the full size. None leaves it as it is.
        voxel_nm: voxel size (z, y, x) in nm where the field was found; replaces what the file states.

    Returns:
        The field, for ``volume``; without one for the volume that the file names, or else for one with as many pixels
        as the file has vectors. Vectors lie on the volume's pixels, wherever the file says that its origin is.

    Raises:
        InputError: no such file, another suffix, damaged, not a field, another direction, a value that is not finite,
            vectors that leave their section, axes that are turned, a volume that shows other tissue.
    """
    field = open_field(path, voxel_nm).field
    return field if volume is None else fitted(field, Volume.of(volume))


def read_field_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the provenance that a field in a Zarr carries, or None."""
    if Path(path).suffix.lower() != ".zarr":
        return None
    from napari_emsynth.io.zarr.read import read_zarr_record

    return read_zarr_record(Path(path))


def _check_values(path: Path, field: Displacement) -> None:
    """Look through a field once.

    Raises:
        InputError: a value is not finite, or the file is cut short.
    """
    for z in range(field.shape[0]):
        for top in range(0, field.nodes[0], EDGE):
            if not np.isfinite(field.section(z, slice(top, top + EDGE))).all():
                raise InputError(f"{path} holds displacements that are not numbers, in section {z}")
