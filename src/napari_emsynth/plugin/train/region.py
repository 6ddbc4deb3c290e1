"""Which part of a layer to learn from: everything, what the view shows, or what is drawn in a shapes layer.

Conventions: a region is (first, last + 1) along z, y, x in voxels; a voxel belongs to it when its centre does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.layers import masks
from napari_emsynth.plugin.layers.convert import current_section, full_data
from napari_emsynth.training.job import Ranges
from napari_emsynth.volume import Array


def shape_of(layer: Any) -> tuple[int, int, int]:
    """Return the layer's sections, rows and columns."""
    z, y, x = (int(n) for n in full_data(layer).shape[-3:])
    return z, y, x


def everything(layer: Any) -> Ranges:
    """Return the whole layer."""
    z, y, x = shape_of(layer)
    return (0, z), (0, y), (0, x)


def in_view(viewer: Any, layer: Any) -> Ranges:
    """Return what the canvas shows of the layer, in all its sections.

    Raises:
        InputError: the canvas shows something else than rows and columns, or nothing of the layer.
    """
    if viewer.dims.ndisplay != 2 or tuple(viewer.dims.displayed)[-2:] != (viewer.dims.ndim - 2, viewer.dims.ndim - 1):
        raise InputError("the view does not show sections (y, x); turn it back or choose everything")
    corners = np.asarray(layer.corner_pixels, float)[:, -2:]
    if layer.multiscale:
        corners = corners * np.asarray(layer.downsample_factors[layer.data_level], float)[-2:]
    y, x = _plane(corners, layer, f"the view shows nothing of layer {layer.name!r}")
    return everything(layer)[0], y, x


def in_shapes(viewer: Any, shapes: Any, layer: Any) -> Ranges:
    """Return the box around what is drawn; shapes on several sections say which sections too.

    Raises:
        InputError: nothing is drawn inside the layer.
    """
    drawn = masks.outlines(shapes, layer, current_section(viewer, layer))
    nothing = f"nothing is drawn in layer {shapes.name!r} inside layer {layer.name!r}"
    if not drawn:
        raise InputError(nothing)
    y, x = _plane(np.concatenate([outline.corners for outline in drawn]), layer, nothing)
    sections = sorted({outline.section for outline in drawn})
    count = shape_of(layer)[0]
    z = (max(0, sections[0]), min(count, sections[-1] + 1)) if len(sections) > 1 else (0, count)
    if z[0] >= z[1]:
        raise InputError(nothing)
    return z, y, x


def _plane(corners: Array, layer: Any, nothing: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and columns inside a box, clipped to the layer."""
    found = []
    for axis, size in enumerate(shape_of(layer)[1:]):
        low = max(0, math.ceil(float(corners[:, axis].min())))
        high = min(size, math.floor(float(corners[:, axis].max())) + 1)
        if low >= high:
            raise InputError(nothing)
        found.append((low, high))
    return found[0], found[1]


def cut_sections(region: Ranges, first: int, last: int) -> Ranges:
    """Return the region, limited to sections ``first`` to ``last``.

    Raises:
        InputError: none is left.
    """
    low, high = max(region[0][0], first), min(region[0][1], last + 1)
    if low >= high:
        there = f"{region[0][0]} to {region[0][1] - 1}"
        raise InputError(f"sections {first} to {last} have nothing in common with the region's {there}")
    return (low, high), region[1], region[2]
