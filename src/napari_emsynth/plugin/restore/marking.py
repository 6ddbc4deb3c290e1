"""Marking sections of a layer: by hand, by detection, from what is drawn.

Law: every change of the marks can be undone; bad input ends in one line to the user.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from napari_emsynth.plugin.jobs.detection import detection
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers import convert as layer_tools, masks
from napari_emsynth.plugin.layers.convert import volume_of
from napari_emsynth.plugin.layers.history import ChangedMarks
from napari_emsynth.plugin.restore.marks import Mark, Marks, add, check_section, scored
from napari_emsynth.plugin.viewer.session import Session


class Marking:
    """The part of :class:`~napari_emsynth.plugin.restore.session.RestoreTask` that knows which sections are marked."""

    session: Session
    marks_changed: Any
    layer_chosen: Any
    _marks: dict[Any, Marks]

    def marks_of(self, layer: Any) -> Marks:
        """Return what is marked in a layer."""
        return () if layer is None else self._marks.get(layer.unique_id, ())

    def put_marks(self, layer_id: Any, marks: Marks) -> None:
        """Set a layer's marks without a step of history."""
        self._marks[layer_id] = marks
        self.marks_changed.emit()

    def score_marks(self, layer_id: Any, entries: Mapping[tuple[int, bool], dict[str, Any]]) -> None:
        """Say beside a layer's marks what a result's record says of them (by :attr:`Mark.key`)."""
        self.put_marks(layer_id, scored(self._marks.get(layer_id, ()), entries))

    def set_marks(self, layer: Any, marks: Marks, title: str) -> None:
        """Set a layer's marks; can be undone."""
        before = self.marks_of(layer)
        if marks == before:
            return
        put = partial(self.put_marks, layer.unique_id)
        self.session.history.add(ChangedMarks(title, put, before, marks))
        put(marks)
        self.session.results_changed.emit()

    def mark(self, layer: Any, section: int, treatment: str = "replace", origin: str = "by hand") -> None:
        """Mark one section; bad input is refused."""

        def act() -> None:
            layer_tools.check_layer(layer)
            check_section(section, layer_tools.full_data(layer).shape[-3])
            new = Mark(section=section, treatment=treatment, origin=origin)  # type: ignore[arg-type]
            self.set_marks(layer, add(self.marks_of(layer), [new]), f"Mark section {section}")
            self.layer_chosen.emit(layer.unique_id)

        self.session.attempt(act)

    def unmark(self, layer: Any, section: int) -> None:
        """Take every mark off one section."""
        left = tuple(m for m in self.marks_of(layer) if m.section != section)
        self.set_marks(layer, left, f"Unmark section {section}")

    def detect(self, layer: Any, channel: int | None = None) -> QueuedJob | None:
        """Look for damaged sections and mark them."""
        volume = self.session.attempt(volume_of, layer, channel)
        if volume is None:
            return None

        def found(suspects: list[Any]) -> None:
            new = [Mark(section=s.section, origin=f"detected: {s.kind}") for s in suspects]
            self.set_marks(layer, add(self.marks_of(layer), new), "Detect damaged sections")

        return self.session.queue.submit(detection(volume, found, self.session.refuse))

    def mark_from(self, layer: Any, mask: Any, *, whole: bool) -> QueuedJob | None:
        """Mark what is drawn in a labels or shapes layer: its pixels only, or whole sections."""

        def prepare() -> Callable[[QueuedJob], Any]:
            layer_tools.check_layer(layer)
            masks.check_mask_layer(mask, layer)
            if layer_tools.type_of(mask) == "labels":
                data = layer_tools.full_data(mask)
                return lambda job: masks.painted(data, job.cancel.check)
            drawn = masks.outlines(mask, layer, layer_tools.current_section(self.session.viewer, layer))
            shape = tuple(layer_tools.full_data(layer).shape[-3:])
            return lambda job: masks.draw(drawn, shape)  # noqa: ARG005 - the queue's signature

        def done(found: dict[int, Any]) -> None:
            origin = f"drawn in {mask.name!r}"
            new = [
                Mark(section=z, origin=origin) if whole
                else Mark(section=z, treatment="region", region=region, origin=origin)
                for z, region in found.items()
            ]  # fmt: skip
            if not new:
                self.session.refuse(f"nothing is drawn in layer {mask.name!r} inside the stack")
            self.set_marks(layer, add(self.marks_of(layer), new), f"Mark from {mask.name}")

        work = self.session.attempt(prepare)
        if work is None:
            return None
        return self.session.queue.submit(QueuedJob("Read the mask", work, on_done=done, on_failed=self.session.refuse))
