"""Fields in ``.zarr`` (v3, one array): float32 [z, 2, y, x], (dy, dx) px, a vector to every pixel or to coarse nodes.

Conventions: the attribute ``displacement`` says which volume the field serves, its axes, units and direction; the
provenance is in ``emsynth``, as in a volume.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import check_voxel_nm
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import EDGE, NO_ORIGIN, Format, Found, Head, check_shape, no_bytes
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.io.units import number
from napari_emsynth.volume import Float

KEY, VERSION, DIRECTION = "displacement", 1, "pull"
EQUATION = "aligned(z, p) = input(z, p + u(z, p))"
COMPONENTS = ["dy", "dx"]


# ------------------------------------------------------------------------------------------ writing


@dataclass(frozen=True)
class _Array:
    """An array to be filled."""

    array: Any

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section."""
        self.array[z, :, rows] = strip

    def close(self) -> None:
        """All is written."""


def _begin(work: Work, head: Head) -> _Array:
    import zarr

    return _Array(
        zarr.create_array(
            store=str(work.data),
            shape=(head.sections, 2, *head.nodes),
            chunks=(1, 2, min(EDGE, head.nodes[0]), min(EDGE, head.nodes[1])),
            dtype="float32",
            zarr_format=3,
            dimension_names=["z", "displacement", "y", "x"],
            attributes={KEY: _said(head), **({} if head.record is None else {"emsynth": head.record})},
        )
    )


def _said(head: Head) -> dict[str, Any]:
    """Return what a file says of its field."""
    field = head.field
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
        "nodes": "pixels" if head.nodes == field.shape[1:] else "cell-centred",
        "limit_nm": field.limit_nm,
        **({"origin_nm": list(head.origin_nm)} if any(head.origin_nm) else {}),
    }


# ------------------------------------------------------------------------------------------ reading


def _read(path: Path) -> Found:
    import zarr

    from napari_emsynth.io.zarr.store import ZarrArray, store_of

    with opening(path, "Zarr"):
        node = zarr.open(store_of(path), mode="r")
        check_array(node)
        source = ZarrArray(str(path.resolve()), "", range(node.ndim), {})
        said = node.attrs.get(KEY, {})
        data = Stored(path, source, source.anchors)
        return _served(data, said if isinstance(said, Mapping) else {})


def check_array(data: Any) -> None:
    """Refuse what cannot be a field of ours.

    Raises:
        InputError: another shape than z, 2, y, x, or no numbers.
    """
    if len(data.shape) != 4 or data.shape[1] != 2 or min(data.shape) < 1 or np.dtype(data.dtype).kind not in "iuf":
        raise InputError(f"{data.dtype} of shape {tuple(data.shape)} is no displacement: float32 z, 2 (dy, dx), y, x")


def _served(data: Any, said: Mapping[str, Any]) -> Found:
    """Return the field with what the file says of the volume that it serves.

    Raises:
        InputError: the file is of a later version, pushes instead of pulling, or contradicts itself.
    """
    if not said:
        return Found(data=data, shape=check_shape((data.shape[0], *data.shape[2:])))
    if said.get("version") != VERSION or said.get("direction") != DIRECTION:
        raise InputError(
            f"a displacement of version {said.get('version')!r} and direction {said.get('direction')!r}, "
            f"needs {VERSION} and {DIRECTION!r}"
        )
    try:
        shape = check_shape(tuple(said["shape"]))
        limit, origin = said.get("limit_nm"), [number(n) for n in said.get("origin_nm", NO_ORIGIN)]
        if shape[0] != data.shape[0] or len(origin) != 3:
            raise ValueError(f"no volume has {shape} voxels here")
        z, y, x = (float(n) for n in origin if n is not None)
        return Found(
            data=data,
            shape=shape,
            voxel_nm=check_voxel_nm(said.get("voxel_nm")),
            origin_nm=(z, y, x),
            limit_nm=None if limit is None else float(limit),
        )
    except (InputError, KeyError, TypeError, ValueError) as error:
        told = json.dumps(dict(said), default=str)[:120]
        raise InputError(f"it does not say which volume its displacement serves: {told}") from error


ZARR = Format(
    suffix=".zarr",
    about="one Zarr array, dy and dx in px, with axes, voxel size and record",
    read=_read,
    begin=_begin,
    takes=no_bytes,
    folder=True,
    keeps_nodes=True,
)
