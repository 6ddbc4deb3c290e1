"""Damage drawn by hand: from a labels or shapes layer to masked pixels, section by section.

Law: a pixel is marked when its centre lies inside a drawn outline; labels are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.layers.convert import full_data, type_of
from napari_emsynth.volume import Array

# An ellipse is drawn as a polygon of this many corners: under 0.1 px off at 200 px radius.
ELLIPSE_CORNERS = 128


@dataclass(frozen=True)
class Outline:
    """A drawn area: its section and its corners [n, 2] (y, x) in voxels of the image."""

    section: int
    corners: Array


def check_mask_layer(mask: Any, image: Any) -> None:
    """Refuse a mask that does not fit the image.

    Raises:
        InputError: another shape, or neither labels nor shapes.
    """
    kind = type_of(mask)
    if kind not in ("labels", "shapes"):
        raise InputError(f"layer {mask.name!r} is a {kind} layer; a mask is a labels or a shapes layer")
    wanted = tuple(full_data(image).shape[-3:])
    if kind == "labels" and tuple(full_data(mask).shape) != wanted:
        raise InputError(
            f"mask {mask.name!r} has shape {tuple(full_data(mask).shape)}; needs the image's shape {wanted}"
        )


def outlines(shapes: Any, image: Any, section: int) -> list[Outline]:
    """Return what is drawn in a shapes layer, in voxels of the image.

    Args:
        shapes: a shapes layer; a 2-D one counts for ``section``.
        image: the 3-D image layer.
        section: the section on screen.
    """
    found = []
    for kind, vertices in zip(shapes.shape_type, shapes.data, strict=True):
        corners = ellipse(np.asarray(vertices)) if str(kind) == "ellipse" else np.asarray(vertices)
        world = np.array([shapes.data_to_world(tuple(corner)) for corner in corners])
        if world.shape[1] < 3:
            z = section
            here = np.array(image.data_to_world((float(section), 0.0, 0.0)))[:1]
            world = np.column_stack([np.broadcast_to(here, (len(world), 1)), world])
        voxels = np.array([image.world_to_data(tuple(point))[-3:] for point in world])
        z = round(float(voxels[:, 0].mean()))
        found.append(Outline(z, voxels[:, 1:]))
    return found


def ellipse(corners: Array) -> Array:
    """Return a polygon [n, d] inside the box whose four corners [4, d] napari stores for an ellipse."""
    centre = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
    found: Array = centre + np.cos(angle) * first + np.sin(angle) * second
    return found


def draw(drawn: list[Outline], shape: tuple[int, int, int]) -> dict[int, Array]:
    """Return {section: mask [y, x] bool} of the drawn areas that touch the stack; for a worker thread."""
    from skimage.draw import polygon2mask

    masks: dict[int, Array] = {}
    for outline in drawn:
        if 0 <= outline.section < shape[0] and len(outline.corners) >= 3:
            area = polygon2mask(shape[1:], outline.corners)
            masks[outline.section] = masks.get(outline.section, False) | area
    return {z: mask for z, mask in masks.items() if mask.any()}


def painted(data: Any, check: Any) -> dict[int, Array]:
    """Return {section: mask [y, x] bool} of the non-zero labels, read section by section."""
    masks = {}
    for z in range(data.shape[0]):
        check()
        section = np.asarray(data[z]) != 0
        if section.any():
            masks[z] = section
    return masks
