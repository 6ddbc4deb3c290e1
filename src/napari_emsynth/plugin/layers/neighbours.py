"""Neighbouring sections laid over each other: one red and one green, or in alternating squares.

Conventions: section z with section z + 1, the last one with itself. What lies on its neighbour is yellow, and runs on
from square to square; what does not is red or green, and breaks. Law: on the canvas nothing but the section on screen
is computed, nothing of the layers is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image

from napari_emsynth.plugin.layers.checkerboard import How, alternated, brightness
from napari_emsynth.plugin.layers.convert import COMPANION_KEY, Placement, find_layer, full_data, unique_name
from napari_emsynth.plugin.layers.results import insert_above


def overlay(how: How, data: Any, limits: tuple[float, float]) -> Any:
    """Return a lazy array of all sections [z, y, x] over their neighbours, a section a chunk; RGB for red/green."""
    import dask.array as da

    sections = (1, *data.shape[1:])
    stack = data.rechunk(sections) if hasattr(data, "dask") else da.from_array(data, chunks=sections, name=False)
    after = da.concatenate([stack[1:], stack[-1:]])
    if how == "squares":
        return alternated(stack, after)
    parts = [part.map_blocks(brightness, limits=limits, dtype=np.uint8) for part in (stack, after)]
    colours = da.stack([*parts, da.zeros(stack.shape, np.uint8, chunks=stack.chunks)], axis=-1)
    return colours.rechunk((1, *data.shape[1:], 3))


class Neighbours:
    """Keeps the overlays of a viewer: of an original, and above it that of its result."""

    def __init__(self) -> None:
        self.layer_ids: list[Any] = []

    @property
    def layer_id(self) -> Any:
        """Of the one that covers the other, None when there is none."""
        return self.layer_ids[-1] if len(self.layer_ids) > 1 else None

    def show(self, viewer: Any, layers: list[Any], how: How) -> None:
        """Show overlays of these image layers, the original first, in place of older ones."""
        active, older, self.layer_ids = viewer.layers.selection.active, self.layer_ids, []
        for layer in layers:
            made = _layer(layer, how)
            made.name = unique_name(viewer, f"{layer.name} {how} neighbours")
            insert_above(viewer, made, {other.unique_id for other in viewer.layers})
            self.layer_ids.append(made.unique_id)
        viewer.layers.selection.active = active
        # Last: who watches layers go must find the new ones there.
        _remove(viewer, older)

    def hide(self, viewer: Any) -> None:
        """Take them away."""
        older, self.layer_ids = self.layer_ids, []
        _remove(viewer, older)

    def is_on(self, viewer: Any) -> bool:
        """True while one of them is there."""
        return any(find_layer(viewer, layer_id) is not None for layer_id in self.layer_ids)


def _remove(viewer: Any, layer_ids: list[Any]) -> None:
    for layer_id in layer_ids:
        layer = find_layer(viewer, layer_id)
        if layer is not None:
            viewer.layers.remove(layer)


def _layer(layer: Any, how: How) -> Image:
    placement = Placement.of(layer)
    limits = (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))
    data = overlay(how, full_data(layer), limits)
    metadata = {COMPANION_KEY: "neighbours"}
    if how == "red/green":
        return Image(data, rgb=True, metadata=metadata, **placement.space)
    return Image(data, metadata=metadata, **placement.space, **placement.look)
