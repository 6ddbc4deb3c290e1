"""A volume in 3-D, with the right height of its voxels; of a large one, the part in view.

A view is no result: it is not in the history, and everything is as it was when it goes. Laws: other images are not
seen meanwhile, and nothing lazy is computed but the part that is shown; whoever turns napari back to 2-D by hand ends
it too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy as np
from napari.layers import Image

from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import (
    COMPANION_KEY,
    Placement,
    current_section,
    find_layer,
    full_data,
    is_image,
    unique_name,
    voxel_translate,
)
from napari_emsynth.plugin.layers.field_of_view import around, corners
from napari_emsynth.plugin.layers.results import insert_above
from napari_emsynth.volume import Array

# What a graphics card takes without a thought, and the longest edge of its textures.
MOST_VOXELS, MOST_EDGE = 48_000_000, 2048
# Of a part: rows and columns, and as many sections as make it about as high.
PART_EDGE = 320
# Onto a corner, where three faces are seen: voxels of a wrong height would show.
ANGLES = (35.0, -35.0, 135.0)
Box = tuple[slice, slice, slice]


class View3D:
    """The 3-D view of one viewer.

    Args:
        session: the viewer's.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._layer_id: Any = None
        self._put_back: list[Callable[[], None]] = []

    @property
    def is_on(self) -> bool:
        """True while it is shown."""
        return find_layer(self._session.viewer, self._layer_id) is not None

    def show(self, layer: Any, channel: int | None = None) -> QueuedJob:
        """Show a layer, or its part in view."""
        self.hide()
        box = part_in_view(self._session.viewer, layer)
        data = full_data(layer)
        stack = data if layer.ndim == 3 else data[channel or 0]
        placement = Placement.of(layer)
        translate = voxel_translate(layer, [part.start for part in box])
        whole = all(len(range(*part.indices(n))) == n for part, n in zip(box, stack.shape, strict=True))
        what = "" if whole else " (part in view)"

        def work(job: QueuedJob) -> Any:
            job.cancel.check()
            look = {**placement.look, "blending": "translucent", "opacity": 1.0}
            space = {**placement.space, "translate": tuple(translate)}
            metadata = {COMPANION_KEY: "3-D"}
            return Image(read(stack, box), rendering="translucent", metadata=metadata, **look, **space)

        def done(made: Any) -> None:
            made.name = unique_name(self._session.viewer, f"{layer.name} in 3-D{what}")
            self._show(made)

        key = "3-D view"
        job = QueuedJob("Show in 3-D", work, on_done=done, on_failed=notify.warn, key=key)
        self._session.queue.submit(job)
        return job

    def hide(self) -> None:
        """Put everything back."""
        put_back, self._put_back = self._put_back, []
        layer = find_layer(self._session.viewer, self._layer_id)
        self._layer_id = None
        if layer is not None:
            self._session.viewer.layers.remove(layer)
        for undo in reversed(put_back):
            undo()
        if put_back or layer is not None:
            self._session.results_changed.emit()

    def _show(self, made: Any) -> None:
        viewer = self._session.viewer
        self._session.end_comparing()
        self.hide()
        # First: in 3-D, whatever is visible is read as a whole.
        for layer in viewer.layers:
            if layer.visible and (is_image(layer) or not isinstance(full_data_of(layer), np.ndarray)):
                layer.visible = False
                self._put_back.append(partial(setattr, layer, "visible", True))
        active = viewer.layers.selection.active
        self._remember_camera(viewer)
        insert_above(viewer, made, {layer.unique_id for layer in viewer.layers})
        self._layer_id = made.unique_id
        viewer.layers.selection.active = active
        viewer.dims.ndisplay = 3
        self._look_at_a_corner(viewer)
        viewer.dims.events.ndisplay.connect(self._turned)
        self._put_back.append(lambda: viewer.dims.events.ndisplay.disconnect(self._turned))
        self._session.results_changed.emit()

    def _remember_camera(self, viewer: Any) -> None:
        now = camera(viewer)
        centre, zoom = tuple(now.center), now.zoom

        def back() -> None:
            viewer.dims.ndisplay = 2
            now.center, now.zoom = centre, zoom

        self._put_back.append(back)

    def _look_at_a_corner(self, viewer: Any) -> None:
        camera(viewer).angles = ANGLES
        # As large as the window, of what is seen from there.
        fit_to_view(viewer)
        camera(viewer).angles = ANGLES

    def _turned(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        if self._session.viewer.dims.ndisplay == 2:
            self.hide()


def fit_to_view(viewer: Any) -> None:
    """Show everything as large as the window, which had another name before napari 0.9."""
    getattr(viewer, "fit_to_view" if hasattr(viewer, "fit_to_view") else "reset_view")()


def camera(viewer: Any) -> Any:
    """Return the viewer's camera, which napari 0.9 has moved."""
    return getattr(viewer, "scene", viewer).camera


def full_data_of(layer: Any) -> Any:
    """Return what a layer of any kind holds."""
    return full_data(layer) if hasattr(layer, "multiscale") else np.empty(0)


def part_in_view(viewer: Any, layer: Any) -> Box:
    """Return all of a layer's last three axes; of a large one a box around what is in view, about as high as wide."""
    shape = tuple(int(n) for n in full_data(layer).shape[-3:])
    if prod(shape) <= MOST_VOXELS and max(shape) <= MOST_EDGE:
        return (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    low, high = corners(layer)
    size = [abs(float(s)) for s in layer.scale[-3:]]
    sections = max(1, min(MOST_EDGE, round(PART_EDGE * size[2] / size[0])))
    rows, columns = (around((low[axis] + high[axis]) / 2, PART_EDGE, shape[axis]) for axis in (1, 2))
    return (around(current_section(viewer, layer) + 0.5, sections, shape[0]), rows, columns)


def read(stack: Any, box: Box) -> Array:
    """Return a box of an array of any kind; of one in memory, the array itself."""
    part = stack[box]
    return np.asarray(part.compute(scheduler="synchronous") if hasattr(part, "compute") else part)
