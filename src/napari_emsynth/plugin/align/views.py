"""What is laid over an alignment to judge it: displacements, confidence, neighbouring sections.

Views of an alignment go when another comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_emsynth.plugin.align.displacement_view import (
    Kind,
    confidence_layer,
    magnification,
    sampled,
    vectors_layer,
    view_nodes,
)
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.checkerboard import How
from napari_emsynth.plugin.layers.convert import Placement, find_layer, is_image
from napari_emsynth.plugin.layers.overlay import Views
from napari_emsynth.plugin.layers.results import Shown


class FieldViews(Views):
    """The views of one viewer: "displacement" and "confidence".

    Args:
        session: the viewer's.
        current: gives the alignment in use, for a layer.
    """

    def __init__(self, session: Any, current: Callable[[Any], Shown | None]) -> None:
        super().__init__(session)
        self._current = current

    def hide_all(self) -> None:
        """Take all views away."""
        super().hide_all()
        self._session.neighbours.hide(self._session.viewer)

    def show_displacement(
        self, layer: Any, kind: Kind, magnify: int, then: Callable[[int], None] = lambda _m: None
    ) -> QueuedJob | None:
        """Draw the field in use.

        Args:
            layer: chosen in the dock.
            kind: arrows or grid.
            magnify: how many times too long; 0 chooses.
            then: told what was chosen.
        """
        found = self._found(layer)
        if found is None:
            return None
        shown, home, space = found
        field = shown.result.displacement

        def work(job: QueuedJob) -> tuple[Any, int]:
            vectors = sampled(field, view_nodes(field.shape), job.cancel.check)
            chosen = magnify or magnification(vectors, field.shape)
            return vectors_layer(kind, vectors, field.shape, chosen, space), chosen

        def done(made: tuple[Any, int]) -> None:
            self._add("displacement", made[0], home, f"{kind} x{made[1]}")
            then(made[1])

        return self._submit(f"Draw {kind}", work, done, "displacement")

    def show_confidence(self, layer: Any) -> QueuedJob | None:
        """Lay the confidence over the alignment in use."""
        found = self._found(layer)
        if found is None:
            return None
        shown, home, space = found
        result = shown.result
        if result.confidence is None:
            notify.warn("this alignment has no confidence: its field was loaded from a file")
            return None
        return self._submit(
            "Draw the confidence",
            lambda _job: confidence_layer(result.confidence, result.displacement.shape, space),
            lambda made: self._add("confidence", made, home, "confidence"),
            "confidence",
        )

    def show_neighbours(self, layer: Any, how: How) -> bool:
        """Lay every section over the next, of the layer's newest alignment and of its original."""
        viewer, layers = self._session.viewer, []
        newest = self._newest(layer)
        if newest is not None:
            layers = [find_layer(viewer, newest.source_id), find_layer(viewer, newest.layer_id)]
        layers = [found for found in layers or [layer] if found is not None and is_image(found) and found.ndim == 3]
        if not layers:
            notify.warn("no 3-D image layer is chosen: there are no neighbouring sections to show")
            return False
        self._session.neighbours.show(viewer, layers, how)
        return True

    def _newest(self, layer: Any) -> Shown | None:
        """Return the newest alignment of a layer, by any method."""
        chosen = None if layer is None else layer.unique_id
        results: list[Shown] = self._session.shown
        for shown in reversed(results):
            there = find_layer(self._session.viewer, shown.layer_id) is not None
            if there and chosen in (shown.layer_id, shown.source_id) and shown.result.provenance["task"] == "align":
                return shown
        return None

    def _found(self, layer: Any) -> tuple[Shown, Any, dict[str, Any]] | None:
        """Return the alignment in use, its layer, and where a layer upon it lies; a line to the user without one."""
        shown = self._current(layer)
        if shown is None:
            notify.warn("nothing to draw yet: no alignment by displacements is in the viewer")
            return None
        home = find_layer(self._session.viewer, shown.layer_id)
        return shown, home, Placement.of(home).space
