"""Repairs and previews of one viewer's layers: queued, shown, told of.

Laws: a refused repair ends in one line to the user; a result is shown once, and what it says of the marks is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob, nothing
from napari_emsynth.plugin.layers import convert as layer_tools
from napari_emsynth.plugin.layers.convert import Placement, find_layer, volume_of
from napari_emsynth.plugin.layers.results import family
from napari_emsynth.plugin.restore.layers import build_layers, show_as_layer, show_in_place
from napari_emsynth.plugin.restore.marks import Marks, check_section, run_around
from napari_emsynth.plugin.restore.preview import Preview, is_preview
from napari_emsynth.plugin.restore.request import Outcome, Place, RestoreRequest, Settings, preview_section, restore
from napari_emsynth.plugin.viewer.session import LONGEST, Session, ready
from napari_emsynth.volume import Volume

# Method whose answer is there at once.
QUICK = "fitted"


class Repairing:
    """The part of :class:`~napari_emsynth.plugin.restore.session.RestoreTask` that repairs and shows what it made."""

    session: Session
    settings: Settings
    preview: Preview
    last_request: tuple[Any, RestoreRequest, int | None] | None
    marks_of: Callable[[Any], Marks]
    score_marks: Callable[[Any, dict[tuple[int, bool], dict[str, Any]]], None]

    def run_marked(self, layer: Any, channel: int | None = None) -> QueuedJob | None:
        """Repair everything that is marked in a layer."""
        return self.run(layer, RestoreRequest.of(self.marks_of(layer), self.settings), channel)

    def interpolate_at(self, layer: Any, section: int, *, place: Place | None = None) -> QueuedJob | None:
        """Repair one section, together with the marked ones that adjoin it."""
        settings = replace(self.settings, place=place) if place else self.settings
        sections = run_around(self.marks_of(layer), section)
        return self.run(layer, RestoreRequest(sections=tuple(sections), settings=settings), ahead=section)

    def insert_at(self, layer: Any, section: int) -> QueuedJob | None:
        """Insert a new section before one."""
        return self.run(layer, RestoreRequest(inserts=(section,), settings=self.settings), jump=True)

    def run(
        self,
        layer: Any,
        request: RestoreRequest,
        channel: int | None = None,
        *,
        jump: bool = False,
        ahead: int | None = None,
    ) -> QueuedJob | None:
        """Queue a repair; return None when it is refused.

        Args:
            layer: to be repaired.
            request: what and how.
            channel: of a 4-D layer.
            jump: go to the first new section.
            ahead: section that is shown as soon as something of it is known, until the repair is done and checked.
        """

        def prepare() -> QueuedJob:
            volume = volume_of(layer, channel)
            request.check(volume.shape[0])
            if request.settings.place == "in place" and (layer.ndim != 3 or layer.multiscale):
                raise InputError(f"layer {layer.name!r} is 4-D or multiscale; it cannot be changed in place")
            source = (layer.unique_id, layer.name, Placement.of(layer))

            def work(job: QueuedJob) -> tuple[Outcome, list[Any]]:
                ready(job)
                outcome = restore(volume, request, job.runtime(**request.settings.runtime_options()))
                job.cancel.check()
                in_place = request.settings.place == "in place"
                return outcome, [] if in_place else build_layers(outcome, source[2])

            job = QueuedJob(request.title(), work, on_failed=self.session.refuse)
            job.on_done = partial(self._show, layer, source, job, jump)
            self.last_request = (layer, request, channel)
            return job

        job = self.session.attempt(prepare)
        if job is None:
            return None
        # The one sign of life of a job too short for a bar.
        self.session.viewer.status = f"{job.title}..."
        if ahead is not None:
            self._show_ahead(layer, ahead, request.settings, job)
        return self.session.queue.submit(job)

    def _show_ahead(self, layer: Any, section: int, settings: Settings, job: QueuedJob) -> None:
        """Queue previews before a repair: of the quick method, then of the one asked for, not checked yet."""
        spec = None if self.session.engine is None else self.session.engine.spec(settings.method)
        if layer.ndim != 3 or layer.multiscale or (spec is not None and not spec.weights):
            return  # nothing to be shown in pieces, or nothing to wait for
        volume, quick = volume_of(layer, None), replace(settings, method=QUICK, weights="", params={})

        def end(then: Callable[..., None], *told: Any) -> None:
            self.preview.hide(self.session.viewer)
            then(*told)

        # A repair that ends without a result leaves nothing of it behind.
        job.on_cancelled, job.on_failed = partial(end, job.on_cancelled), partial(end, job.on_failed)
        for known in (quick, settings):
            look = self._preview_job(layer, volume, section, known)
            # What is wrong, the repair itself will say; who cancels it cancels all.
            look.cancel, look.on_failed = job.cancel, nothing
            self.session.queue.submit(look)

    def _show(
        self,
        layer: Any,
        source: tuple[Any, str, Placement],
        job: QueuedJob,
        jump: bool,
        made: tuple[Outcome, list[Any]],
    ) -> None:
        """Bring a finished repair to the screen."""
        outcome, layers = made
        viewer = self.session.viewer
        self.session.end_comparing()
        self.preview.hide(viewer)
        if outcome.request.settings.place == "in place":
            shown = show_in_place(layer, outcome)
        else:
            below = family(source[0], self.session.shown)
            self.session.is_showing = True
            shown = show_as_layer(viewer, source[:2], outcome, layers, below, self._all_shown)
        self.session.history.add(shown.step)
        self.session.shown = [*self.session.shown, shown][-LONGEST:]
        self.score_marks(source[0], outcome.entries)
        target = find_layer(viewer, shown.layer_id)
        if jump and target is not None:
            layer_tools.show_section(viewer, target, outcome.shown())
        self.session.results_changed.emit()
        self._tell([*outcome.notices, *job.notes], outcome)

    def _all_shown(self) -> None:
        """The last companion of a result is on the screen."""
        self.session.is_showing = False
        self.session.results_changed.emit()

    def _tell(self, lines: list[str], outcome: Outcome) -> None:
        """Show the notices; where another method did better, offer it."""
        checks = [e.get("selfcheck") or {} for e in outcome.entries.values()]
        instead = next((c["instead"] for c in checks if c.get("instead")), "")
        self.session.noticed.emit(lines, instead)
        for line in lines:
            offered = instead and f"--method {instead} " in line
            notify.warn(line, [(notify.use_instead(instead), lambda: self.use_instead(instead))] if offered else ())

    def use_instead(self, method: str) -> QueuedJob | None:
        """Repeat the last repair with another method instead of its result."""
        if self.last_request is None:
            return None
        layer, request, channel = self.last_request
        if (
            self.session.shown
            and self.session.history.done
            and self.session.history.done[-1] is self.session.shown[-1].step
        ):
            self.session.undo()
        settings = replace(request.settings, method=method, weights="", params={})
        return self.run(layer, replace(request, settings=settings), channel)

    def preview_at(self, layer: Any, section: int, channel: int | None = None) -> QueuedJob | None:
        """Show what a repair would put at a section; a newer preview takes the place of an older one."""
        if layer is not None and is_preview(layer):
            return None
        volume = self.session.attempt(volume_of, layer, channel)
        if volume is None or self.session.attempt(check_section, section, volume.shape[0]) is None:
            return None
        if layer.ndim != 3:
            self.session.refuse("the preview needs a 3-D layer; a repair works on 4-D ones too")
            return None
        return self.session.queue.submit(self._preview_job(layer, volume, section, self.settings, "preview"))

    def _preview_job(self, layer: Any, volume: Volume, section: int, settings: Settings, key: str = "") -> QueuedJob:
        """Return the work of showing what a repair would put at a section."""
        marks = self.marks_of(layer)

        def work(job: QueuedJob) -> Any:
            ready(job)
            return preview_section(volume, marks, section, settings, job.runtime(**settings.runtime_options()))

        def done(pixels: Any) -> None:
            if find_layer(self.session.viewer, layer.unique_id) is not None:
                self.preview.show(
                    self.session.viewer, layer, section, pixels, family(layer.unique_id, self.session.shown)
                )
                self.session.results_changed.emit()

        title = f"Preview section {section}"
        return QueuedJob(title, work, on_done=done, on_failed=self.session.refuse, quiet=True, key=key)

    def end_preview(self) -> None:
        """Take the preview away."""
        for job in self.session.queue.jobs:
            if job.key == "preview":
                job.cancel.cancel()
        if not self.session.is_closed:
            self.preview.hide(self.session.viewer)
