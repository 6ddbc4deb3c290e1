"""What the plugin knows of one task on whole volumes in one viewer: beside how it would look, the last result.

It belongs to the viewer's session, whose history and comparison it uses, so that a closed dock loses nothing.
Law: bad input ends in one line to the user, never in an exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from qtpy.QtCore import Signal

from napari_emsynth.plugin.copy_as_code import source_path, to_clipboard
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import find_layer
from napari_emsynth.plugin.layers.results import Shown, add_layers, family
from napari_emsynth.plugin.viewer.session import LONGEST, Session, ready
from napari_emsynth.plugin.volume_task.code import More, volume_code
from napari_emsynth.plugin.volume_task.layers import build_volume_layers, placed
from napari_emsynth.plugin.volume_task.preview_task import PreviewTask
from napari_emsynth.plugin.volume_task.run import VolumeOutcome, run
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.volume_task.target import Target, check_target
from napari_emsynth.volume import Volume


class VolumeTask(PreviewTask):
    """One task in one viewer.

    Signals:
        checked: a run ended; its outcome.
    """

    checked = Signal(object)

    def __init__(self, session: Session, start: VolumeSettings) -> None:
        super().__init__(session, start)
        self.last_outcome: VolumeOutcome | None = None
        self.last_request: tuple[Any, VolumeSettings, int | None, Target | None] | None = None

    # -- work --------------------------------------------------------------------------------------

    def run(
        self,
        layer: Any,
        channel: int | None = None,
        settings: VolumeSettings | None = None,
        target: Target | None = None,
    ) -> QueuedJob | None:
        """Queue the task; return None when it is refused.

        Args:
            layer: the chosen one.
            channel: of a 4-D layer.
            settings: other ones than those of the dock.
            target: the file the result goes into; None for memory.
        """

        def prepare() -> QueuedJob:
            volume = self.volume(layer, channel)
            chosen = self.fitted(self.settings if settings is None else settings, volume)
            placement = placed(layer, chosen)
            more = self.inputs(volume, chosen)
            if target is not None:
                check_target(target, list(self.session.viewer.layers), layer)

            def work(job: QueuedJob) -> tuple[VolumeOutcome, list[Any]]:
                ready(job)
                runtime = job.runtime(**chosen.runtime_options())
                outcome = run(volume, chosen, runtime, more, target)
                job.cancel.check()
                return outcome, build_volume_layers(outcome, placement)

            job = QueuedJob(chosen.title(), work, on_failed=self.refuse, owner=self.name)
            job.on_done = partial(self.show, (layer.unique_id, layer.name), job)
            self.last_request = (layer, chosen, channel, target)
            return job

        return self.submit(prepare)

    def show(self, source: tuple[Any, str], job: QueuedJob, made: tuple[VolumeOutcome, list[Any]]) -> None:
        """Bring a finished result to the screen."""
        outcome, layers = made
        session = self.session
        session.end_comparing()
        source_id, name = source
        session.is_showing = True
        step = add_layers(
            session.viewer,
            outcome.settings.name_of_result(name),
            outcome.settings.title(),
            layers,
            family(source_id, session.shown),
            self.all_shown,
        )
        session.history.add(step)
        shown = Shown(outcome, layers[0].unique_id, source_id, name, step)
        session.shown = [*session.shown, shown][-LONGEST:]
        self.last_outcome = outcome
        session.results_changed.emit()
        self.checked.emit(outcome)
        self._tell(list(dict.fromkeys([*outcome.notices, *job.notes])), outcome)

    def all_shown(self) -> None:
        """The last layer of a result is on the screen."""
        self.session.is_showing = False
        self.session.results_changed.emit()

    def _tell(self, lines: list[str], outcome: VolumeOutcome) -> None:
        """Show the notices; where another method did better, offer it."""
        check = outcome.selfcheck or {}
        instead = check.get("instead") or ""
        self._is_refused = False
        self.noticed.emit(lines, instead)
        # The dock shows all; what calls for a decision is worth interrupting for.
        if check.get("advice"):
            offer = (notify.use_instead(instead), lambda: self.use_instead(instead))
            notify.warn(check["advice"], [offer] if instead else ())

    def use_instead(self, method: str) -> QueuedJob | None:
        """Do the last task again with another method, instead of its result."""
        if self.last_request is None:
            return None
        layer, settings, channel, target = self.last_request
        session = self.session
        if find_layer(session.viewer, layer.unique_id) is None:
            self.refuse(f"the layer is gone: nothing to {self.settings.verb.lower()} again")
            return None
        session.undo_newest()
        other = replace(settings, method=method, weights="", params={})
        return self.run(layer, channel, other, None if target is None else target.beside(method))

    # -- the rest ----------------------------------------------------------------------------------

    def copy(self, layer: Any, channel: int | None = None) -> str | None:
        """Put the task as code on the clipboard and return it; None when it is refused."""

        def write() -> str:
            volume, path, more = self.code_parts(layer, channel)
            return volume_code(self.fitted(self.settings, volume), volume, path, more)

        return to_clipboard(self.attempt(write))

    def code_parts(self, layer: Any, channel: int | None) -> tuple[Volume, str | None, More]:
        """Return what the code is about: voxels, their file (None when they have none), and what other layers add.

        Raises:
            InputError: not a stack of enough sections.
        """
        return self.volume(layer, channel), source_path(layer), More()

    def newest(self) -> Any | None:
        """Return the layer of the newest result of this task that is still there."""
        shown = self.newest_shown()
        return None if shown is None else find_layer(self.session.viewer, shown.layer_id)

    def newest_shown(self) -> Shown | None:
        """Return the newest result of this task whose layer is still there."""
        return next(iter(self.all_newest()), None)

    def all_newest(self) -> Iterator[Shown]:
        """Go through the results of this task whose layers are still there, the newest first."""
        for shown in reversed(self.session.shown):
            there = find_layer(self.session.viewer, shown.layer_id) is not None
            if there and shown.result.provenance["task"] == self.name:
                yield shown
