"""Layers that are laid over a result to judge it.

Views are no results: they are not in the history, and go when their result goes. Law: each is there once, and its layer
is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import find_layer, unique_name
from napari_emsynth.plugin.layers.results import insert_above
from napari_emsynth.volume import Array

VIEWS = "views"


class Views:
    """The views of one kind in one viewer, by name.

    Args:
        session: the viewer's.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._layers: dict[str, Any] = {}
        # Unique ids of the results' layers that they are of.
        self._of: dict[str, Any] = {}

    def is_on(self, name: str) -> bool:
        """True while a view is there."""
        return find_layer(self._session.viewer, self._layers.get(name)) is not None

    def hide(self, name: str) -> None:
        """Take a view away."""
        layer = find_layer(self._session.viewer, self._layers.pop(name, None))
        if layer is not None:
            self._session.viewer.layers.remove(layer)

    def hide_all(self) -> None:
        """Take all views away."""
        for name in list(self._layers):
            self.hide(name)

    def drop_orphans(self) -> None:
        """Take away what is of a result that is gone."""
        for name in list(self._layers):
            if find_layer(self._session.viewer, self._of.get(name)) is None:
                self.hide(name)

    def _submit(self, title: str, work: Any, done: Callable[..., None], name: str) -> QueuedJob:
        key = f"{VIEWS} {name}"
        job = QueuedJob(title, work, on_done=done, on_failed=notify.warn, quiet=True, key=key)
        self._session.queue.submit(job)
        return job

    def _add(self, name: str, layer: Any, home: Any, title: str) -> None:
        """Put a view on top of all, in place of an older one; what was active stays so."""
        viewer = self._session.viewer
        if find_layer(viewer, home.unique_id) is None:
            # Undone while it was made.
            return
        active, older = viewer.layers.selection.active, find_layer(viewer, self._layers.get(name))
        layer.name = unique_name(viewer, f"{home.name} {title}")
        insert_above(viewer, layer, {other.unique_id for other in viewer.layers})
        viewer.layers.selection.active = active
        self._layers[name], self._of[name] = layer.unique_id, home.unique_id
        # Last: who watches layers go must find the new one there.
        if older is not None:
            viewer.layers.remove(older)


def on_nodes(space: dict[str, Any], shape: tuple[int, int, int], nodes: tuple[int, ...]) -> dict[str, Any]:
    """Return where a layer of nodes lies that is spread over a stack: voxels larger by ``shape / nodes``."""
    factors = np.array([1.0, *(n / m for n, m in zip(shape[1:], nodes, strict=True))])
    first = (factors - 1) / 2
    scale = np.asarray(space["scale"], float)
    # Within a layer: translate + rotate @ shear @ (scale * data); shear and rotation act on the scaled data.
    linear = np.asarray(space["rotate"]) @ _shear(space["shear"])
    return {
        **space,
        "scale": tuple(scale * factors),
        "translate": tuple(np.asarray(space["translate"], float) + linear @ (scale * first)),
    }


def _shear(shear: Any) -> Array:
    """Return a shear as a matrix; napari gives the upper triangle as a vector."""
    given: Array = np.asarray(shear, float)
    if given.ndim == 2:
        return given
    matrix: Array = np.eye(3)
    matrix[np.triu_indices(3, 1)] = given
    return matrix
