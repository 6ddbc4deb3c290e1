"""Fields in ``.ome.zarr``: the ``displacements`` of OME-Zarr 0.6, in a Zarr v3.

Conventions: the root is a scene with the coordinate systems ``aligned`` and ``acquired``, in nm, and one transformation
from the first to the second, which is what drawing the aligned image takes. Its array [3, z, y, x] holds lengths along
z, y, x in nm, z being 0, and lies in the image ``coordinateTransformations/displacements``, whose scale and translation
are those of the volume. The vector axis comes first, as in any multiscale image.

Laws: fields of others are read with their axes in any order, with vectors of two components, of one section (y, x),
and declared by a scene, by an image, or by their own axis alone; what would be ambiguous is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.grid import Triple
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import EDGE, Format, Found, Head, check_numbers, check_shape, no_bytes
from napari_emsynth.io.fields.ome_metadata import ARRAY, DISPLACEMENT, PLACE, VERSION, Declared, declared
from napari_emsynth.io.fields.vectors import InPixels, Turned
from napari_emsynth.io.stored import Source, Stored, opening
from napari_emsynth.io.units import plausible
from napari_emsynth.volume import Float

SPACE = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
AXES: list[dict[str, Any]] = [{"name": "c", "type": DISPLACEMENT, "discrete": True}, *SPACE]
ALIGNED, ACQUIRED, PHYSICAL = "aligned", "acquired", "physical"


# ------------------------------------------------------------------------------------------ writing


@dataclass(frozen=True)
class _Array:
    """An array to be filled."""

    array: Any
    voxel_nm: Triple

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section."""
        vectors = np.zeros((3, *strip.shape[1:]), np.float32)
        vectors[1], vectors[2] = strip[0] * self.voxel_nm[1], strip[1] * self.voxel_nm[2]
        self.array[:, z, rows] = vectors

    def close(self) -> None:
        """All is written."""


def _begin(work: Work, head: Head) -> _Array:
    import zarr

    record = {} if head.record is None else {"emsynth": head.record}
    root = zarr.create_group(str(work.data), zarr_format=3, attributes={"ome": _scene(), **record})
    image = root.create_group(PLACE, attributes={"ome": _image(head)})
    array = image.create_array(
        ARRAY,
        shape=(3, *head.field.shape),
        chunks=(3, 1, min(EDGE, head.nodes[0]), min(EDGE, head.nodes[1])),
        dtype="float32",
        dimension_names=[str(axis["name"]) for axis in AXES],
    )
    return _Array(array, head.voxel_nm)


def _scene() -> dict[str, Any]:
    transformation = {
        "type": "displacements",
        "name": "alignment",
        "input": {"name": ALIGNED},
        "output": {"name": ACQUIRED},
        "path": PLACE,
        "interpolation": "linear",
    }
    systems = [{"name": name, "axes": SPACE} for name in (ALIGNED, ACQUIRED)]
    return {"version": VERSION, "scene": {"coordinateSystems": systems, "coordinateTransformations": [transformation]}}


def _image(head: Head) -> dict[str, Any]:
    steps = [
        {"type": "scale", "scale": [1.0, *head.voxel_nm]},
        {"type": "translation", "translation": [0.0, *head.origin_nm]},
    ]
    placed = {"type": "sequence", "input": {"path": ARRAY}, "output": {"name": PHYSICAL}, "transformations": steps}
    multiscale = {
        "name": "alignment",
        "coordinateSystems": [{"name": PHYSICAL, "axes": AXES}],
        "datasets": [{"path": ARRAY, "coordinateTransformations": [placed]}],
    }
    return {"version": VERSION, "multiscales": [multiscale]}


# ------------------------------------------------------------------------------------------ reading


def _read(path: Path) -> Found:
    import zarr

    from napari_emsynth.io.zarr.store import ZarrArray, store_of

    with opening(path, "OME-Zarr displacements"):
        said = declared(zarr.open(store_of(path), mode="r"))
        stored = ZarrArray(str(path.resolve()), said.array, said.order, {})
        check_numbers(stored.dtype)
        vectors: Source = stored if said.has_z else Turned(stored)
        z, _, y, x = vectors.shape
        return Found(
            data=Stored(path, InPixels(vectors, said.places, said.steps), stored.anchors),
            shape=check_shape((z, y, x)),
            voxel_nm=(voxel_nm := _voxel_nm(said)),
            origin_nm=(0.0, 0.0, 0.0) if voxel_nm is None else said.origin_nm,
        )


def _voxel_nm(said: Declared) -> Triple | None:
    return plausible(
        [None if unit is None else unit * size for unit, size in zip(said.units_nm, said.scale, strict=True)]
    )


OME = Format(
    suffix=".ome.zarr",
    about="OME-Zarr 0.6 displacements, z, y, x in nm",
    read=_read,
    begin=_begin,
    takes=no_bytes,
    folder=True,
    physical=True,
)
