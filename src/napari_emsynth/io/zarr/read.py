"""Reading Zarr: OME-Zarr images (0.4, 0.5), and plain arrays (v2, v3).

Laws: nothing is read but metadata; every array and image of a group is accounted for, or the group is refused; axes
are what their names say, in any order; sizes and origins come to nm by the axes' units, and what states no scale, or no
unit, has an unknown size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import LocalStore

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Triple
from napari_emsynth.io.choice import EVERYTHING, Choice
from napari_emsynth.io.content import MARKS, MASKS
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.io.units import nm_per, number, plausible, stated_nm
from napari_emsynth.io.url import Location, stem_of
from napari_emsynth.io.zarr.store import METADATA_NAMES, ZarrArray, store_of
from napari_emsynth.volume import Known, Volume

# What programs call the axes.
AXES = {
    "z": ("z", "depth", "plane", "planes", "slice", "section", "sections"),
    "y": ("y", "height", "row", "rows"),
    "x": ("x", "width", "col", "column", "columns"),
    "channel": ("c", "channel", "channels"),
    "time": ("t", "time", "frame", "frames"),
}
AXIS = {name: axis for axis, names in AXES.items() for name in names}
# Where a volume keeps what patches replaced.
PATCHES = "emsynth_patches"
# What a patch says of itself.
PATCH = "emsynth_patch"
# Groups beside an image that are no images: labels, tables of other programs, and what patches replaced.
BESIDE = ("labels", "tables", "shapes", "points", "OME", PATCHES)
NOWHERE: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Place:
    """How an array lies in space.

    Args:
        axes: z, y, x, channel or time, one for each of its own.
        voxel_nm: (z, y, x) in nm, None when unknown.
        origin_nm: centre of voxel (0, 0, 0).
        notices: what is to be said of that.
        labels: values are ids, as OME's metadata say.
    """

    axes: Sequence[str]
    voxel_nm: Triple | None = None
    origin_nm: Triple = NOWHERE
    notices: tuple[str, ...] = ()
    labels: bool = False


def is_zarr(path: Location) -> bool:
    """Return True when a folder is a Zarr array or group."""
    if isinstance(path, Path):
        return any((path / name).is_file() for name in METADATA_NAMES)
    store = store_of(path)
    return any(store.document(name) is not None for name in METADATA_NAMES)


def read_zarr(path: Location, choice: Choice = EVERYTHING) -> Volume:
    """Read a Zarr image, group or array as a volume, with what is known of it.

    Raises:
        ChoiceError: it holds several images, arrays, channels or times, and none is chosen.
        InputError: not Zarr, damaged, or not one grey volume.
    """
    record = read_zarr_record(path)
    # Elsewhere every question takes a while, and what no step of ours made has no marks of ours.
    names = MARKS if isinstance(path, Path) or record is not None else ()
    marks = {name: part.data for name in names if (part := read_zarr_part(path, name)) is not None}
    return replace(_image(path, choice), known=Known.of(record, marks))


def read_zarr_part(path: Location, name: str) -> Volume | None:
    """Read ``labels/NAME`` or the image group ``NAME``, or return None when the file has neither."""
    inside = path / "labels" / name
    for inner in (inside, path / name) if isinstance(path, Path) else (inside if name in MASKS else path / name,):
        if is_zarr(inner):
            return _image(inner, EVERYTHING)
    return None


def read_zarr_record(path: Location) -> dict[str, Any] | None:
    """Return the provenance in the file, or None."""
    record = _record(path)
    return dict(record) if isinstance(record, Mapping) else None


def _record(path: Location) -> Any:
    with opening(path, "Zarr"):
        return _node(path).attrs.get("emsynth")


def _node(path: Location, name: str = "") -> Any:
    if not is_zarr(path):
        raise InputError(f"{path} cannot be read as Zarr: none of {', '.join(METADATA_NAMES)} is in it")
    return zarr.open(store_of(path), path=name, mode="r")


def _image(path: Location, choice: Choice) -> Volume:
    with opening(path, "Zarr"):
        node = _node(path)
        if isinstance(node, zarr.Array):
            return _plain(path, "", node, choice)
        if PATCH in node.attrs:
            raise InputError(f"{path} is a patch, no volume: emsynth patch show says of which, patch apply puts it in")
        if "bioformats2raw.layout" in node.attrs.get("ome", node.attrs):
            return _series(path, node, choice)
        return _group(path, "", node, choice)


def _series(path: Location, root: Any, choice: Choice) -> Volume:
    """Return one of the images that a converter numbered."""
    names = sorted((name for name, _ in root.groups() if name.isdecimal()), key=int)
    if not names:
        raise InputError(f"{path} holds no image, though it says it does")
    name = names[choice.pick(path, "series", [str(root[n].attrs.get("name", "")) for n in names])]
    return _group(path, name, root[name], replace(choice, series=None))


def _group(path: Location, inner: str, group: Any, choice: Choice) -> Volume:
    """Return an image of a group.

    Raises:
        ChoiceError: several.
        InputError: none.
    """
    ome = group.attrs.get("ome", group.attrs)
    if "plate" in ome or "well" in ome:
        raise InputError(f"{path} is a plate of many images; name one image inside it")
    images = ome.get("multiscales")
    if images:
        image = images[choice.pick(path, "series", [str(i.get("name", "")) for i in images])]
        return _multiscale(path, inner, group, image, choice)
    arrays = {name: array for name, array in group.arrays() if array.ndim >= 3}
    if not arrays:
        raise InputError(
            f"{path} is a Zarr group with no 3-D array and no multiscales metadata; name one array inside it"
        )
    names = sorted(arrays)
    words = [f"{n}: {' x '.join(map(str, arrays[n].shape))} {arrays[n].dtype}" for n in names]
    name = names[choice.pick(path, "series", words)]
    return _plain(path, f"{inner}/{name}".lstrip("/"), arrays[name], choice)


def _plain(path: Location, name: str, array: Any, choice: Choice) -> Volume:
    """Return a plain array, of unknown size unless an attribute ``voxel_nm`` states it."""
    said = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    names = [str(n).lower() for n in said] if isinstance(said, list | tuple) else []
    axes = [AXIS.get(n, n) for n in names]
    if len(axes) != array.ndim or not set(axes) & {"z", "y", "x"}:
        beside = array.ndim - 3
        if beside < 0 or any(length != 1 for length in array.shape[:beside]):
            raise InputError(f"{path} has shape {tuple(array.shape)}, needs 3 axes z, y, x")
        axes = [*["alone"] * beside, "z", "y", "x"]
    return _volume(path, name, array, Place(axes=axes, voxel_nm=stated_nm(array.attrs)), choice)


def _volume(path: Location, name: str, array: Any, place: Place, choice: Choice) -> Volume:
    """Return an array as a volume z, y, x.

    Raises:
        ChoiceError: several channels or times, and none is chosen.
        InputError: other axes.
    """
    said = f"{path} has shape {tuple(array.shape)} (axes {', '.join(place.axes)})"
    place = _stacked(path, array, place, choice)
    picked: dict[int, int] = {}
    for word in ("channel", "time"):
        at = [i for i, axis in enumerate(place.axes) if axis == word]
        index = choice.pick(path, word, [""] * int(array.shape[at[0]]) if at else [""])
        picked |= {at[0]: index} if at else {}
    spare = [i for i, axis in enumerate(place.axes) if axis not in AXES and array.shape[i] == 1]
    picked |= dict.fromkeys(spare, 0)
    if sorted(axis for i, axis in enumerate(place.axes) if i not in picked) != ["x", "y", "z"]:
        raise InputError(f"{said}, needs 3 axes z, y, x")
    z, y, x = (list(place.axes).index(axis) for axis in "zyx")
    source = ZarrArray(str(path), name, (z, y, x), picked)
    sections, rows, columns = source.shape
    grid = Grid(shape=(sections, rows, columns), voxel_nm=place.voxel_nm, origin_nm=place.origin_nm)
    data = Stored(path, source, source.anchors)
    metadata = {"path": str(path), "notices": place.notices}
    return Volume(data, grid, stem_of(path), metadata, labels=place.labels)


def _stacked(path: Location, array: Any, place: Place, choice: Choice) -> Place:
    """Return the place of a stack whose sections were stored as its channels or times."""
    sizes = dict(zip(place.axes, array.shape, strict=True))
    many = [a for a in ("channel", "time") if sizes.get(a, 1) > 1 and getattr(choice, a) is None]
    if sizes.get("z", 1) > 1 or len(many) != 1:
        return place
    axes = ["z" if axis == many[0] else "alone" if axis == "z" else axis for axis in place.axes]
    told = f"the {sizes[many[0]]} {many[0]}s of {path.name} are taken as its sections"
    return replace(place, axes=axes, notices=(*place.notices, told))


# --------------------------------------------------------------------------------------- OME-Zarr


def _multiscale(path: Location, inner: str, group: Any, image: Mapping[str, Any], choice: Choice) -> Volume:
    """Return one level of a multiscale image.

    Raises:
        ChoiceError: several channels or times, and none is chosen.
        InputError: metadata without the array it names.
    """
    levels = image["datasets"]
    if not levels:
        raise InputError("it lists no resolution: datasets is empty")
    level = levels[choice.pick(path, "level", [str(entry["path"]) for entry in levels])]
    if level["path"] not in group:
        raise InputError(f"{path} names the array {level['path']!r}, which is not there")
    array = group[level["path"]]
    said = [a if isinstance(a, Mapping) else {"name": a} for a in image.get("axes", _unnamed(array.ndim))]
    names = [str(axis.get("name", "")).lower() for axis in said]
    if len(names) != array.ndim:
        raise InputError(f"{path} names {len(names)} axes of an array of {array.ndim}")
    named = {str(entry["path"]).split("/")[0] for i in (image, *_all(group)) for entry in i["datasets"]}
    extra = sorted(n for n in _members(group) if n not in (*named, *BESIDE, *MARKS))
    notices = [f"{path.name} also holds {', '.join(extra)}: left out"] if extra else []
    size, origin, doubt = _space(path, image, level, [AXIS.get(n, n) for n in names], said)
    place = Place(
        axes=[AXIS.get(n, n) for n in names],
        voxel_nm=size,
        origin_nm=origin,
        notices=(*notices, *doubt),
        labels="image-label" in group.attrs.get("ome", group.attrs),
    )
    return _volume(path, f"{inner}/{level['path']}".lstrip("/"), array, place, choice)


def _members(group: Any) -> list[str]:
    """Return the names in a group; none where a store cannot list them."""
    if isinstance(group.store, LocalStore):
        return [name for name, _ in group.members()]
    try:
        return [name for name, _ in group.members()]
    except Exception:  # noqa: BLE001 - whatever a server answers that cannot list
        return []


def pyramid(path: Location, name: str) -> tuple[str, list[str]]:
    """Return the group that holds an image, and the names of all its resolutions, the finest first.

    Args:
        path: of the Zarr.
        name: of the array that is the finest; "" for the root itself.
    """
    for folder in Path(name).parents if name else ():
        inner = "" if folder == Path() else folder.as_posix()
        for image in _all(_node(path, inner)):
            names = [f"{inner}/{entry['path']}".lstrip("/") for entry in image["datasets"]]
            if name in names:
                return inner, names[names.index(name) :]
    return name.rpartition("/")[0], [name]


def _all(group: Any) -> Sequence[Mapping[str, Any]]:
    images = group.attrs.get("ome", group.attrs).get("multiscales", ())
    return [image for image in images if isinstance(image, Mapping)]


def _unnamed(ndim: int) -> str:
    """Return the axes that versions before 0.3 left unsaid."""
    return "tczyx"[-ndim:]


def _space(
    path: Location,
    image: Mapping[str, Any],
    level: Mapping[str, Any],
    axes: Sequence[str],
    said: Sequence[Mapping[str, Any]],
) -> tuple[Triple | None, Triple, list[str]]:
    """Return voxel size and origin in nm, and a notice where they are stated in a way that makes no sense."""
    steps = [*_steps(level), *_steps(image)]
    scale: list[float | None] = (
        [1.0] * len(axes) if any(s.get("type") == "scale" for s in steps) else [None] * len(axes)
    )
    shift: list[float | None] = [0.0] * len(axes)
    for step in steps:
        kind = step.get("type")
        values = step.get(kind) if kind in ("scale", "translation") else None
        if kind == "identity":
            continue
        numbers = [number(v) for v in values] if isinstance(values, list | tuple) else []
        if len(numbers) != len(axes) or None in numbers:
            told = " ".join(str(dict(step)).split())[:80]
            return None, NOWHERE, [f"{path.name} states its voxel size in a way that cannot be read: {told}"]
        if kind == "scale":
            scale, shift = (
                [None if a is None or b is None else a * b for a, b in zip(have, numbers, strict=True)]
                for have in (scale, shift)
            )
        else:
            shift = [None if a is None or b is None else a + b for a, b in zip(shift, numbers, strict=True)]
    if not set("zyx") <= set(axes):
        return None, NOWHERE, []
    order = [list(axes).index(a) for a in "zyx"]
    units = [nm_per(said[i].get("unit")) for i in order]
    size = plausible([u * s if u and (s := scale[i]) is not None else None for u, i in zip(units, order, strict=True)])
    z, y, x = (u * s if size and u and (s := shift[i]) is not None else 0.0 for u, i in zip(units, order, strict=True))
    return size, (z, y, x), []


def _steps(said: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps = said.get("coordinateTransformations") or ()
    return [step if isinstance(step, Mapping) else {"type": step} for step in steps]
