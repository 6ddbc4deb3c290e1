"""Reading Zarr: OME-Zarr images (0.4, 0.5) at full resolution, and plain arrays (v2, v3).

Laws: nothing is read but metadata; sizes and origins come to nm by the axes' units, and an axis without a
unit makes the size unknown.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Triple
from napari_emsynth.io.content import MARKS, stem
from napari_emsynth.io.units import nm_per, plausible, stated_nm
from napari_emsynth.volume import Known, Volume

METADATA_NAMES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def is_zarr(path: Path) -> bool:
    """Return True when a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in METADATA_NAMES)


def read_zarr(path: Path) -> Volume:
    """Read a Zarr image, group or array as a volume, with what is known of it.

    Raises:
        InputError: not Zarr, damaged, or not one grey volume.
    """
    marks = {name: part.data for name in MARKS if (part := read_zarr_part(path, name)) is not None}
    return replace(_image(path), known=Known.of(read_zarr_record(path), marks))


def _image(path: Path) -> Volume:
    import zarr

    node = _node(path)
    if isinstance(node, zarr.Group) and "bioformats2raw.layout" in node.attrs:
        node = node["0"]
    return _array(path, node) if isinstance(node, zarr.Array) else _group(path, node)


def read_zarr_part(path: Path, name: str) -> Volume | None:
    """Read ``labels/NAME`` or the image group ``NAME``, or return None when the file has neither."""
    for inner in (path / "labels" / name, path / name):
        if is_zarr(inner):
            return _image(inner)
    return None


def read_zarr_record(path: Path) -> dict[str, Any] | None:
    """Return the provenance in the file, or None."""
    record = _node(path).attrs.get("emsynth")
    return record if isinstance(record, dict) else None


def _node(path: Path) -> Any:
    import zarr

    try:
        return zarr.open(store=str(path), mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as Zarr: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error


def _group(path: Path, group: Any) -> Volume:
    """Return the full-resolution image of a group."""
    ome = group.attrs.get("ome", group.attrs)
    images = ome.get("multiscales")
    if images:
        return _multiscale(path, group, images[0])
    arrays = {name: array for name, array in group.arrays() if array.ndim == 3}
    if len(arrays) == 1:
        return _array(path, next(iter(arrays.values())))
    found = f"{len(arrays)} 3-D arrays ({', '.join(sorted(arrays))})" if arrays else "no 3-D array"
    raise InputError(f"{path} is a Zarr group with {found} and no multiscales metadata; name one array inside it")


def _array(path: Path, array: Any) -> Volume:
    """Return a plain array as a volume, of unknown size unless an attribute ``voxel_nm`` states it.

    Raises:
        InputError: not three axes.
    """
    if array.ndim != 3:
        raise InputError(f"{path} has shape {tuple(array.shape)}, needs 3 axes z, y, x")
    return _volume(path, array, stated_nm(array.attrs), (0.0, 0.0, 0.0))


def _volume(path: Path, data: Any, voxel_nm: Triple | None, origin_nm: Triple) -> Volume:
    grid = Grid(shape=tuple(data.shape), voxel_nm=voxel_nm, origin_nm=origin_nm)
    return Volume(data, grid, stem(path), {"path": str(path)})


def _multiscale(path: Path, group: Any, image: dict[str, Any]) -> Volume:
    """Return level 0 of a multiscale image.

    Raises:
        InputError: metadata without the array it names, or several channels or times.
    """
    level = image["datasets"][0]
    if level["path"] not in group:
        raise InputError(f"{path} names the array {level['path']!r}, which is not there")
    array = group[level["path"]]
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", _unnamed(array.ndim))]
    names = [str(a["name"]).lower() for a in axes]
    extra = [n for name, n in zip(names, array.shape, strict=False) if name not in "zyx"]
    if len(names) != array.ndim or not set("zyx") <= set(names) or max(extra, default=1) > 1:
        raise InputError(
            f"{path} has shape {tuple(array.shape)} (axes {''.join(names)}), needs 3 axes z, y, x: "
            "choose one channel and time"
        )
    scale, shift = _transform(image, level, array.ndim)
    units = [nm_per(a.get("unit")) for a in axes]
    order = [names.index(a) for a in "zyx"]
    voxel_nm = plausible([u * scale[i] if (u := units[i]) else None for i in order])
    origin = [u * shift[i] if (u := units[i]) and voxel_nm else 0.0 for i in order]
    return _volume(path, _zyx(array, names), voxel_nm, (origin[0], origin[1], origin[2]))


def _unnamed(ndim: int) -> str:
    """Return the axes that versions before 0.3 left unsaid."""
    return "tczyx"[-ndim:]


def _zyx(array: Any, names: list[str]) -> Any:
    """Return the array as [z, y, x]; other axes have length 1."""
    if names == ["z", "y", "x"]:
        return array
    import dask.array as da

    lazy = da.from_array(array, chunks=array.chunks)
    picked = lazy[tuple(slice(None) if n in "zyx" else 0 for n in names)]
    left = [n for n in names if n in "zyx"]
    return da.transpose(picked, [left.index(a) for a in "zyx"])


def _transform(image: dict[str, Any], level: dict[str, Any], ndim: int) -> tuple[list[float], list[float]]:
    """Return scale and translation of level 0: the level's own transforms, then the image's."""
    scale, shift = [1.0] * ndim, [0.0] * ndim
    for step in (*level.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if step["type"] == "scale":
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            shift = [a * b for a, b in zip(shift, step["scale"], strict=True)]
        elif step["type"] == "translation":
            shift = [a + b for a, b in zip(shift, step["translation"], strict=True)]
    return scale, shift
