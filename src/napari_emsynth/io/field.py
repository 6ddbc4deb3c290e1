"""Displacement fields to files and back.

Conventions: a file holds float32 [z, 2, y, x], (dy, dx) px, pull: ``aligned_z(p) = z(p + u_z(p))``. A ``.npy`` has a
vector to every pixel of the volume it serves, and says nothing else. A ``.zarr`` (v3, one array) says in its attribute
``displacement`` which volume it serves, its axes, units and direction, and may hold coarse nodes instead; the
provenance is in ``emsynth``, as in a volume.

Laws: what is written is read back bit-identically; nothing larger than a strip of a section is held; a file appears
when it is complete; a field with a value that is not a number is refused, not applied.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.fit import fitted
from napari_emsynth.grid import Shape, Triple, check_voxel_nm
from napari_emsynth.io.atomic import UNCLAIMED, Claims, Work, check_room, undisturbed, working
from napari_emsynth.io.content import plain
from napari_emsynth.io.output_checks import check_place
from napari_emsynth.io.raw import Raw
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.spec import CancelToken, Progress, Result, no_progress
from napari_emsynth.volume import Array, Float, Volume

FIELD_SUFFIXES = (".npy", ".zarr")
# Chunks of a .zarr along y and x; rows written at once.
EDGE = 512
# No section is larger, in px.
LARGEST_EDGE = 1 << 24
KEY, VERSION, DIRECTION = "displacement", 1, "pull"
EQUATION = "aligned(z, p) = input(z, p + u(z, p))"
COMPONENTS = ["dy", "dx"]


# ------------------------------------------------------------------------------------------ writing


def write_field(
    source: Displacement | Result,
    path: str | os.PathLike[str],
    *,
    dense: bool = True,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    claims: Claims = UNCLAIMED,
) -> Path:
    """Write a displacement field, strip by strip.

    Args:
        source: the field, or an alignment, whose record goes along.
        path: .npy or .zarr.
        dense: a vector to every pixel; False keeps the field's own nodes, hundreds of times fewer, which a .npy
            cannot tell from a small volume's field.
        overwrite: replace what is there; it stays until the new one is complete.
        provenance: of the field; None takes the alignment's own.
        progress: called after every section.
        cancel: asked between strips.
        claims: outputs that are held already, from before the field was found.

    Returns:
        The path written.

    Raises:
        InputError: see :func:`check_field_output`; an alignment without a field; coarse nodes for a .npy; no room.
        Cancelled: nothing is at ``path``.
    """
    path = Path(path)
    if isinstance(source, Result):
        provenance = provenance or source.provenance
        source = field_of(source)
    if not dense and path.suffix.lower() == ".npy" and source.nodes != source.shape[1:]:
        raise InputError(f"{path} cannot hold coarse nodes: a .npy does not say which volume they serve")
    check_field_output(path, overwrite=overwrite)
    nodes = source.shape[1:] if dense else source.nodes
    with working(path, claims) as work:
        check_field_output(path, overwrite=overwrite)  # again: now nobody else can write it
        work.clear()
        check_room(path, math.prod((source.shape[0], 2, *nodes)) * 4 if path.suffix.lower() == ".npy" else 0)
        target = _target(work, source, nodes, plain(None if provenance is None else dict(provenance)))
        for z in range(source.shape[0]):
            for rows, strip in _strips(source, z, nodes):
                if cancel is not None:
                    cancel.check()
                with undisturbed():
                    target[z, :, rows] = strip
            progress(z + 1, source.shape[0], "sections of the displacement written")
        with undisturbed():
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
        InputError: another suffix than .npy and .zarr, a folder that is missing or read-only, a file that exists.
    """
    path = Path(path)
    if path.suffix.lower() not in FIELD_SUFFIXES:
        needs = " or ".join(FIELD_SUFFIXES)
        raise InputError(f"cannot write the displacement to {path}: suffix {path.suffix or 'missing'!r}, needs {needs}")
    check_place(path, source, overwrite, folder=path.suffix.lower() == ".zarr")


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


def _target(work: Work, field: Displacement, nodes: tuple[int, int], record: dict[str, Any] | None) -> Any:
    """Return the array to be filled, float32 [z, 2, *nodes]."""
    shape = (field.shape[0], 2, *nodes)
    if work.target.suffix.lower() == ".npy":
        return _Npy.begun(work.data, shape)
    import zarr

    return zarr.create_array(
        store=str(work.data),
        shape=shape,
        chunks=(1, 2, min(EDGE, nodes[0]), min(EDGE, nodes[1])),
        dtype="float32",
        zarr_format=3,
        dimension_names=["z", "displacement", "y", "x"],
        attributes={KEY: _said(field, nodes), **({} if record is None else {"emsynth": record})},
    )


@dataclass(frozen=True)
class _Npy:
    """A .npy to be filled: written to, not mapped, for the pages of a map count as memory until the end.

    Args:
        path: of the file.
        shape: [z, 2, y, x].
        header: bytes before the first value.
    """

    path: Path
    shape: tuple[int, ...]
    header: int

    @classmethod
    def begun(cls, path: Path, shape: tuple[int, ...]) -> _Npy:
        """Write the header."""
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            header = file.tell()
            file.truncate(header + 4 * math.prod(shape))
        return cls(path, shape, header)

    def __setitem__(self, key: tuple[int, slice, slice], strip: Float) -> None:
        z, _, rows = key
        _, two, height, width = self.shape
        with self.path.open("r+b") as file:
            for c in range(two):
                file.seek(self.header + 4 * width * ((z * two + c) * height + (rows.start or 0)))
                file.write(np.ascontiguousarray(strip[c], "<f4").tobytes())


def _said(field: Displacement, nodes: tuple[int, int]) -> dict[str, Any]:
    """Return what a .zarr says of its field."""
    unit = {"unit": "nanometer"} if field.voxel_nm else {}
    axes: list[dict[str, Any]] = [{"name": name, "type": "space", **unit} for name in "zyx"]
    axes.insert(1, {"name": "displacement", "type": "displacement", "unit": "pixel", "components": COMPONENTS})
    return {
        "version": VERSION,
        "direction": DIRECTION,
        "equation": EQUATION,
        "axes": axes,
        "shape": list(field.shape),
        "voxel_nm": list(field.voxel_nm) if field.voxel_nm else None,
        "nodes": "pixels" if nodes == field.shape[1:] else "cell-centred",
        "limit_nm": field.limit_nm,
    }


def _strips(field: Displacement, z: int, nodes: tuple[int, int]) -> Iterator[tuple[slice, Float]]:
    """Yield rows of one section's field [2, rows, x]."""
    if nodes != field.shape[1:]:
        yield slice(None), field.section(z)
        return
    for top in range(0, nodes[0], EDGE):
        rows = slice(top, min(top + EDGE, nodes[0]))
        yield rows, field.dense(z, rows)


# ------------------------------------------------------------------------------------------ reading


def read_field(
    path: str | os.PathLike[str], volume: Volume | Array | None = None, voxel_nm: Triple | None = None
) -> Displacement:
    """Read a displacement field lazily; its values are looked through once, a strip at a time.

    Args:
        path: .npy or .zarr.
        volume: [z, y, x] what is to be moved: the field is fitted to it, so that one found on a binned copy serves
            the full size. None leaves it as it is.
        voxel_nm: voxel size (z, y, x) in nm where the field was found; replaces what the file states.

    Returns:
        The field, for ``volume``; without one for the volume that the file names, or else for one with as many pixels
        as the file has vectors.

    Raises:
        InputError: no such file, damaged, not float [z, 2, y, x], another direction, a value that is not finite,
            a volume that shows other tissue.
    """
    path = Path(path)
    if path.suffix.lower() not in FIELD_SUFFIXES:
        raise InputError(
            f"cannot read a displacement from {path}: suffix {path.suffix or 'missing'!r}, "
            f"needs {' or '.join(FIELD_SUFFIXES)}"
        )
    if not path.exists():
        raise InputError(f"{path} does not exist")
    data, said = _npy(path) if path.suffix.lower() == ".npy" else _zarr(path)
    shape, stated, limit = _served(path, said, data)
    size = check_voxel_nm(voxel_nm) or stated
    field = Displacement(data, shape, size, limit if size is not None else None)
    _check_values(path, field)
    return field if volume is None else fitted(field, Volume.of(volume))


def read_field_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the provenance that a .zarr field carries, or None."""
    if Path(path).suffix.lower() != ".zarr":
        return None
    from napari_emsynth.io.zarr.read import read_zarr_record

    return read_zarr_record(Path(path))


def _npy(path: Path) -> tuple[Any, Mapping[str, Any]]:
    with opening(path, ".npy"):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        _check_array(path, mapped)
        if not mapped.flags.c_contiguous:
            raise InputError(f"{path} keeps its axes in Fortran's order, needs C order: z, 2 (dy, dx), y, x")
        return Stored(path, Raw(str(path.resolve()), mapped.offset, mapped.shape, mapped.dtype), [path]), {}


def _zarr(path: Path) -> tuple[Any, Mapping[str, Any]]:
    import zarr

    from napari_emsynth.io.zarr.store import LocalZarr, ZarrArray

    with opening(path, "Zarr"):
        node = zarr.open(LocalZarr(path), mode="r")
        if not isinstance(node, zarr.Array):
            raise InputError(f"{path} is a Zarr group, needs one array z, 2 (dy, dx), y, x")
        _check_array(path, node)
        source = ZarrArray(str(path.resolve()), "", range(node.ndim), {})
        said = node.attrs.get(KEY, {})
        return Stored(path, source, source.anchors), said if isinstance(said, Mapping) else {}


def _check_array(path: Path, data: Any) -> None:
    if len(data.shape) != 4 or data.shape[1] != 2 or min(data.shape) < 1 or np.dtype(data.dtype).kind not in "iuf":
        raise InputError(
            f"{path} holds {data.dtype} of shape {tuple(data.shape)}, needs a displacement: float32 z, 2 (dy, dx), y, x"
        )


def _served(path: Path, said: Mapping[str, Any], data: Any) -> tuple[Shape, Triple | None, float | None]:
    """Return shape and voxel size of the volume that a field serves, and its limit in nm.

    Raises:
        InputError: the file is of a later version, pushes instead of pulling, or contradicts itself.
    """
    if not said:
        return (data.shape[0], data.shape[2], data.shape[3]), None, None
    if said.get("version") != VERSION or said.get("direction") != DIRECTION:
        raise InputError(
            f"{path} states a displacement of version {said.get('version')!r} and direction "
            f"{said.get('direction')!r}, needs {VERSION} and {DIRECTION!r}"
        )
    try:
        z, y, x = (int(n) for n in said["shape"])
        if z != data.shape[0] or not (0 < y < LARGEST_EDGE and 0 < x < LARGEST_EDGE):
            raise ValueError(f"no volume has {z} x {y} x {x} voxels here")
        voxel_nm, limit = check_voxel_nm(said.get("voxel_nm")), said.get("limit_nm")
        return (z, y, x), voxel_nm, None if limit is None else float(limit)
    except (KeyError, TypeError, ValueError) as error:
        told = json.dumps(dict(said), default=str)[:120]
        raise InputError(f"{path} does not say which volume its displacement serves: {told}") from error


def _check_values(path: Path, field: Displacement) -> None:
    """Look through a field once.

    Raises:
        InputError: a value is not finite, or the file is cut short.
    """
    for z in range(field.shape[0]):
        for top in range(0, field.nodes[0], EDGE):
            if not np.isfinite(field.section(z, slice(top, top + EDGE))).all():
                raise InputError(f"{path} holds displacements that are not numbers, in section {z}")
