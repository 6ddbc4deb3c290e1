"""Layers that follow an alignment: images, labels, points and shapes moved by the field of a stack.

Conventions: a field belongs to the voxels of one stack, its home; another layer is brought there through the world, so
that its own scale and position do not matter. Laws: labels keep their ids; points and shapes keep their number, order
and features; the layer that is moved is never changed. Layers are taken in the GUI thread and made in a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.plugin.layers.convert import full_data, told, type_of, unwrap, voxel_nm_of
from napari_emsynth.plugin.layers.masks import ellipse
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

FOLLOWERS = ("image", "labels", "points", "shapes")
# Between two samplings of the same tissue the faces may differ by this much of the coarser one's px.
SLACK_PX = 1.0

Make = Callable[[Displacement, dict[str, Any], Runtime], Layer]
"""Given a field, the record of its alignment, and how to compute."""


@dataclass(frozen=True)
class Home:
    """The stack a field belongs to.

    Args:
        name: of its layer.
        shape: sections, rows, columns.
        to_world: [4, 4] from its voxels (z, y, x, 1) to the world.
    """

    name: str
    shape: tuple[int, int, int]
    to_world: Array

    @classmethod
    def of(cls, layer: Any) -> Home:
        """Take it from the layer of the stack, or of its aligned result."""
        z, y, x = (int(n) for n in full_data(layer).shape[-3:])
        return cls(layer.name, (z, y, x), world_matrix(layer))


def world_matrix(layer: Any) -> Array:
    """Return [4, 4] from a layer's last three axes (z, y, x, 1) to the world's."""
    count = layer.ndim
    origin = np.asarray(layer.data_to_world((0.0,) * count), float)
    matrix = np.eye(4)
    for axis in range(3):
        unit = np.zeros(count)
        unit[count - 3 + axis] = 1.0
        matrix[:3, axis] = (np.asarray(layer.data_to_world(tuple(unit)), float) - origin)[-3:]
    matrix[:3, 3] = origin[-3:]
    return matrix


def follower(layer: Any, home: Home, suffix: str) -> Make:
    """Return what makes the moved layer; call it in the GUI thread, and the result in a worker.

    Args:
        layer: an image, labels, points or shapes layer of three axes.
        home: of the field.
        suffix: of the new layer's name.

    Raises:
        InputError: another kind of layer, RGB, other axes, or it does not cover the stack.
    """
    kind = type_of(layer)
    if kind not in FOLLOWERS:
        raise InputError(
            f"layer {layer.name!r} is a {kind} layer; images, labels, points and shapes can follow an alignment"
        )
    if layer.ndim != 3 or (kind == "image" and layer.rgb):
        axes = "is RGB" if kind == "image" and layer.rgb else f"has {layer.ndim} axes"
        raise InputError(f"layer {layer.name!r} {axes}; to follow an alignment it needs 3 axes: z, y, x")
    relation = np.linalg.solve(home.to_world, world_matrix(layer))
    data, look, _ = unwrap(layer).as_layer_data_tuple()
    look = {**look, "name": f"{layer.name} {suffix}"}
    if kind == "points":
        return _points(np.asarray(data, float), look, relation)
    if kind == "shapes":
        return _shapes([np.asarray(d, float) for d in data], look, relation)
    check_covers(layer, home, relation)
    return _voxels(layer, look, kind)


def check_covers(layer: Any, home: Home, relation: Array) -> None:
    """Refuse voxels that do not cover the stack, section by section.

    Args:
        layer: of voxels.
        home: the stack.
        relation: [4, 4] from the layer's voxels to the stack's.

    Raises:
        InputError: other sections, or other faces along y or x.
    """
    shape = np.array(full_data(layer).shape[-3:])
    faces = np.stack([np.full(3, -0.5), shape - 0.5])
    there = faces @ relation[:3, :3].T + relation[:3, 3]
    wanted = np.stack([np.full(3, -0.5), np.array(home.shape) - 0.5])
    coarser = np.maximum(1.0, np.array(home.shape) / shape)
    crossed = np.abs(relation[:3, :3] - np.diag(np.diag(relation[:3, :3]))).max() > 1e-6
    off = np.abs(there - wanted) / coarser
    if crossed or shape[0] != home.shape[0] or off[:, 0].max() > 0.5 or off[:, 1:].max() > SLACK_PX:
        raise InputError(
            f"layer {layer.name!r} of {tuple(int(n) for n in shape)} voxels does not cover the aligned stack "
            f"{home.name!r} of {home.shape} voxels: same sections and same faces are needed (check its scale)"
        )


def _voxels(layer: Any, look: dict[str, Any], kind: str) -> Make:
    volume = Volume.of(full_data(layer), voxel_nm=voxel_nm_of(layer), name=layer.name)
    how = "nearest" if kind == "labels" or volume.dtype.kind == "b" else "cubic"
    # Of a multiscale layer the full resolution is moved.
    look["multiscale"] = False

    def make(field: Displacement, record: dict[str, Any], runtime: Runtime) -> Layer:
        from napari_emsynth.fields.apply import applied

        result = applied(volume, field.resized(volume.shape), how, record=record, runtime=runtime)
        metadata = {**look["metadata"], **told(result)}
        return Layer.create(result.data, {**look, "metadata": metadata}, kind)

    return make


def _points(points: Array, look: dict[str, Any], relation: Array) -> Make:
    def make(field: Displacement, _record: dict[str, Any], runtime: Runtime) -> Layer:
        from napari_emsynth.fields.points import moved_points

        runtime.cancel.check()
        return Layer.create(_through(points, relation, lambda p: moved_points(p, field)), look, "points")

    return make


def _shapes(shapes: list[Array], look: dict[str, Any], relation: Array) -> Make:
    kinds = [str(kind) for kind in look["shape_type"]]

    def make(field: Displacement, _record: dict[str, Any], runtime: Runtime) -> Layer:
        from napari_emsynth.fields.points import moved_outline

        found = []
        for vertices, kind in zip(shapes, kinds, strict=True):
            runtime.cancel.check()
            corners = ellipse(vertices) if kind == "ellipse" else vertices
            closed = kind not in ("line", "path")
            found.append(_through(corners, relation, partial(moved_outline, field=field, closed=closed)))
        # What was straight or round is so no longer.
        types = ["path" if kind in ("line", "path") else "polygon" for kind in kinds]
        return Layer.create(found, {**look, "shape_type": types}, "shapes")

    return make


def _through(places: Array, relation: Array, move: Callable[[Array], Array]) -> Array:
    """Move places [n, 3] of a layer in the voxels of the stack."""
    linear, offset = relation[:3, :3], relation[:3, 3]
    return (move(places @ linear.T + offset) - offset) @ np.linalg.inv(linear).T
