"""What an OME-Zarr says of its displacements: where they are, which axis and which component is which, and how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple
from napari_emsynth.io.units import nm_per, number

VERSION = "0.6"
DISPLACEMENT = "displacement"
KIND = "displacements"
PLACE, ARRAY = "coordinateTransformations/displacements", "0"
Said = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The displacements of a Zarr.

    Args:
        array: its name in the store.
        axes: (name, index) of z, y, x as far as they are there.
        vector: index of the vector's axis.
        components: names of the axes that the components go along.
        scale: physical length of a step (z, y, x).
        translation: physical place of the first voxel (z, y, x).
        units_nm: of both, by axis; None when unknown.
        vector_unit: the vectors' unit in that of the axes.
    """

    array: str
    axes: dict[str, int]
    vector: int
    components: tuple[str, ...]
    scale: Triple
    translation: Triple
    units_nm: tuple[float | None, float | None, float | None]
    vector_unit: float

    @property
    def has_z(self) -> bool:
        """True for a stack, False for one section."""
        return "z" in self.axes

    @property
    def order(self) -> tuple[int, ...]:
        """The array's axes as z, c, y, x; as c, y, x where there is no z."""
        first = (self.axes["z"],) if self.has_z else ()
        return (*first, self.vector, self.axes["y"], self.axes["x"])

    @property
    def places(self) -> tuple[int | None, int, int]:
        """Which components are dz, dy, dx."""
        where = self.components.index
        return where("z") if "z" in self.components else None, where("y"), where("x")

    @property
    def steps(self) -> Triple:
        """Length of a step (z, y, x) in the vectors' unit."""
        z, y, x = (size / self.vector_unit for size in self.scale)
        return z, y, x

    @property
    def origin_nm(self) -> Triple:
        """Centre of the first voxel."""
        z, y, x = ((u or 0.0) * t for u, t in zip(self.units_nm, self.translation, strict=True))
        return z, y, x


def declared(root: Any) -> Declared:
    """Return what a store says of its one field of displacements.

    Raises:
        InputError: there is none, or more than one; it cannot be made out.
    """
    said = _transformation(root)
    holder, path = (root, "") if said is None else _held(root, _text(said, "path"))
    multiscale = _multiscale(holder)
    dataset = _dataset(multiscale, path)
    placed = _only(_listed(dataset, "coordinateTransformations"), "transformation of the field")
    axes = _axes(multiscale, placed)
    array = holder[_text(dataset, "path")]
    names = [str(axis.get("name")).lower() for axis in axes]
    vector = [i for i, axis in enumerate(axes) if axis.get("type") == DISPLACEMENT]
    own = {name: i for i, name in enumerate(names) if i not in vector}
    if len(vector) != 1 or len(names) != array.ndim or not {"y", "x"} <= own.keys() <= {"z", "y", "x"}:
        raise InputError(
            f"its field has axes {', '.join(names)}, needs z, y, x (or y, x) and one of type {DISPLACEMENT}"
        )
    out = None if said is None else _output(root, said)
    components, factor = _components(out, [axes[i] for i in own.values()], int(array.shape[vector[0]]))
    scale, translation = _steps(placed, len(axes))
    z, y, x = (own.get(name) for name in "zyx")
    return Declared(
        array=array.path,
        axes=own,
        vector=vector[0],
        components=components,
        scale=_triple(scale, (z, y, x), 1.0),
        translation=_triple(translation, (z, y, x), 0.0),
        units_nm=(_unit(axes, z), _unit(axes, y), _unit(axes, x)),
        vector_unit=factor,
    )


# ------------------------------------------------------------------------------------------ parts


def _ome(node: Any) -> Said:
    said = node.attrs.get("ome")
    if not isinstance(said, Mapping):
        raise InputError(f"no OME-Zarr metadata of 0.6 in {node.path or 'its root'}")
    return said


def _transformation(root: Any) -> Said | None:
    """Return the one transformation that is a field, None where the root is the field itself."""
    ome = _ome(root)
    images = [image for image in _listed(ome, "multiscales") if isinstance(image, Mapping)]
    scene = ome.get("scene")
    holders = [*([scene] if isinstance(scene, Mapping) else []), *images]
    every = [t for holder in holders for t in _listed(holder, "coordinateTransformations") if isinstance(t, Mapping)]
    fields = [t for t in every if t.get("type") == KIND]
    if len(fields) == 1:
        return fields[0]
    systems = [system for image in images for system in _listed(image, "coordinateSystems")]
    if not every and any(_is_vector(axis) for system in systems for axis in _listed(system, "axes")):
        return None
    kinds = ", ".join(sorted({str(t.get("type"))[:20] for t in every})) or "none"
    raise InputError(f"it declares {len(fields)} transformations of type {KIND} (all: {kinds}), needs one")


def _is_vector(axis: Any) -> bool:
    return isinstance(axis, Mapping) and axis.get("type") == DISPLACEMENT


def _held(root: Any, path: str) -> tuple[Any, str]:
    """Return the image group that a field belongs to, and the array's path in it; "" for its first.

    Raises:
        InputError: an array that lies in no image.
    """
    import zarr

    parts = path.strip("/").split("/")
    node = root["/".join(parts)]
    if not isinstance(node, zarr.Array):
        return node, ""
    for depth in reversed(range(len(parts))):
        group = root["/".join(parts[:depth])] if depth else root
        if "multiscales" in group.attrs.get("ome", {}):
            return group, "/".join(parts[depth:])
    raise InputError(f"the array {path[:60]} lies in no image, which would say what its axes are")


def _multiscale(node: Any) -> Said:
    return _only(_listed(_ome(node), "multiscales"), "image of the field")


def _dataset(multiscale: Said, path: str) -> Said:
    datasets = [d for d in _listed(multiscale, "datasets") if isinstance(d, Mapping)]
    wanted = [d for d in datasets if path in ("", d.get("path"))]
    if not wanted:
        raise InputError(f"no array {path!r} in the image of the field")
    return wanted[0]


def _axes(multiscale: Said, placed: Said) -> list[Said]:
    """Return the axes of the array."""
    systems = [s for s in _listed(multiscale, "coordinateSystems") if isinstance(s, Mapping)]
    name = _name(placed.get("output"))
    wanted = [s for s in systems if s.get("name") == name] or systems
    return [axis for axis in _listed(wanted[0] if wanted else {}, "axes") if isinstance(axis, Mapping)]


def _output(root: Any, said: Said) -> list[Said] | None:
    """Return the axes of the coordinate system that a transformation leads to, None where they are not told."""
    end = said.get("output")
    inside = end.get("path") if isinstance(end, Mapping) else None
    ome = _ome(root[str(inside)] if inside else root)
    holders = [ome.get("scene"), *_listed(ome, "multiscales")]
    systems = [s for holder in holders if isinstance(holder, Mapping) for s in _listed(holder, "coordinateSystems")]
    for system in systems:
        if isinstance(system, Mapping) and system.get("name") == _name(end):
            return [axis for axis in _listed(system, "axes") if isinstance(axis, Mapping)]
    return None


def _components(out: list[Said] | None, own: list[Said], count: int) -> tuple[tuple[str, ...], float]:
    """Return the names of the components, and their unit in that of the field's axes."""
    axes = [axis for axis in out or own if not _is_vector(axis)]
    names = tuple(str(axis.get("name")).lower() for axis in axes)
    if len(names) != count and count == 2:
        names = tuple(name for name in names if name != "z")
    if len(names) != count or len(set(names)) != count or not {"y", "x"} <= set(names) <= {"z", "y", "x"}:
        raise InputError(f"its vectors have {count} components along {', '.join(names)}, needs z, y, x or y, x")
    ours, theirs = (nm_per(next((a.get("unit") for a in group if a.get("unit")), None)) for group in (own, axes))
    return names, 1.0 if ours is None or theirs is None else theirs / ours


def _steps(placed: Said, count: int) -> tuple[list[float], list[float]]:
    """Return scale and translation by axis of the array.

    Raises:
        InputError: another transformation than those, or an identity.
    """
    steps = _listed(placed, "transformations") if placed.get("type") == "sequence" else [placed]
    scale, translation = [1.0] * count, [0.0] * count
    for step in steps:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if kind == "scale":
            scale = _numbers(step, kind, count)
        elif kind == "translation":
            translation = _numbers(step, kind, count)
        elif kind != "identity":
            raise InputError(f"its field is placed by {str(kind)[:30]}, needs scale and translation")
    if min(scale) <= 0:
        raise InputError(f"its scale {', '.join(f'{n:g}' for n in scale)} is not above 0")
    return scale, translation


def _numbers(said: Said, key: str, count: int) -> list[float]:
    values = [n for each in _listed(said, key) if (n := number(each)) is not None]
    if len(values) != count:
        raise InputError(f"its {key} {str(said.get(key))[:60]} is not {count} numbers")
    return values


def _triple(values: Sequence[float], places: Sequence[int | None], missing: float) -> Triple:
    z, y, x = (missing if place is None else values[place] for place in places)
    return z, y, x


def _unit(axes: Sequence[Said], place: int | None) -> float | None:
    return None if place is None else nm_per(axes[place].get("unit"))


def _name(end: Any) -> Any:
    return end.get("name") if isinstance(end, Mapping) else end


def _listed(said: Any, key: str) -> list[Any]:
    value = said.get(key) if isinstance(said, Mapping) else None
    return value if isinstance(value, list) else []


def _only(found: list[Any], what: str) -> Said:
    if len(found) != 1 or not isinstance(found[0], Mapping):
        raise InputError(f"it has {len(found)} of what must be one: {what}")
    return found[0]


def _text(said: Said, key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} is {str(value)[:40]!r}, needs a path in the store")
    return value
