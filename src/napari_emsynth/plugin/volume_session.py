"""What the plugin knows of one task on whole volumes in one viewer: settings, the last preview, the last result.

It belongs to the viewer's session, whose queue, history and comparison it uses, so that a closed dock loses nothing.
Law: bad input ends in one line to the user, never in an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_emsynth.errors import InputError
from napari_emsynth.plugin import notify
from napari_emsynth.plugin.code import source_path
from napari_emsynth.plugin.jobs import Job
from napari_emsynth.plugin.layers import PROVENANCE_KEY, Placement, find_layer, volume_of
from napari_emsynth.plugin.request import FLOOR_METHOD
from napari_emsynth.plugin.results import Shown, add_layers, family
from napari_emsynth.plugin.session import LONGEST, Session, ready
from napari_emsynth.plugin.volume_code import More, volume_code
from napari_emsynth.plugin.volume_layers import build_volume_layers, placed
from napari_emsynth.plugin.volume_preview import Plane, preview
from napari_emsynth.plugin.volume_run import Previous, VolumeOutcome, run
from napari_emsynth.plugin.volume_settings import VolumeSettings
from napari_emsynth.plugin.window import Window, window_in_view
from napari_emsynth.volume import Volume


@dataclass(frozen=True)
class Previewed:
    """A preview and what it is of.

    Args:
        planes: xy, xz, yz; before and after.
        window: of the layer.
        settings: it was made with.
        look: of the layer, see :class:`~napari_emsynth.plugin.layers.Placement`.
        layer_id: of the layer.
    """

    planes: list[Plane]
    window: Window
    settings: VolumeSettings
    look: dict[str, Any]
    layer_id: Any


class VolumeTask(QObject):
    """One task in one viewer.

    Signals:
        settings_changed: by someone else than the form.
        previewed: a preview is ready.
        checked: a run ended; its outcome.
        noticed: lines the user must be told (may be empty), and whether linear would help.
    """

    settings_changed = Signal()
    previewed = Signal(object)
    checked = Signal(object)
    noticed = Signal(list, bool)

    @classmethod
    def of(cls, session: Session, start: VolumeSettings) -> VolumeTask:
        """Return the session's task of this kind, made with ``start`` on first use."""
        found = session.findChild(cls, start.task)
        return found if found is not None else cls(session, start)

    def __init__(self, session: Session, start: VolumeSettings) -> None:
        super().__init__(session)
        self.setObjectName(start.task)
        chosen = session.settings
        # The user's preferences hold for every task, but for the method.
        self.settings = replace(
            start,
            device=chosen.device,
            selfcheck=chosen.selfcheck,
            lazy=chosen.lazy,
            with_mask=chosen.with_mask,
        )
        self.last_preview: Previewed | None = None
        self.last_outcome: VolumeOutcome | None = None
        self.last_request: tuple[Any, VolumeSettings, int | None] | None = None

    @property
    def session(self) -> Session:
        """The viewer's session; not kept, it owns us."""
        return self.parent()

    @property
    def name(self) -> str:
        """The task's name, which marks its jobs."""
        return self.settings.task

    def set_settings(self, settings: VolumeSettings) -> None:
        """Take new settings and tell who shows them."""
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()

    # -- telling -----------------------------------------------------------------------------------

    def refuse(self, line: str) -> None:
        """Tell the user, in one line, that something cannot be done."""
        notify.warn(line)
        self.noticed.emit([line], False)

    def attempt(self, act: Callable[..., Any], *args: Any) -> Any:
        """Do something that bad input may stop; return None when it did, after telling the user."""
        try:
            return act(*args)
        except InputError as reason:
            self.refuse(str(reason))
            return None

    def volume(self, layer: Any, channel: int | None) -> Volume:
        """Return a layer's voxels.

        Raises:
            InputError: not a stack of enough sections.
        """
        volume = volume_of(layer, channel)
        least = self.settings.least_sections
        if volume.shape[0] < least:
            raise InputError(
                f"layer {layer.name!r} has {volume.shape[0]} section(s) along z; the limit is {least} sections"
            )
        return volume

    # -- work --------------------------------------------------------------------------------------

    def preview(self, layer: Any, sections: int, channel: int | None = None) -> Job | None:
        """Show what the task would make of the part in view; return None when it is refused."""

        def prepare() -> Job:
            volume, settings = self.volume(layer, channel), self.settings
            window = window_in_view(self.session.viewer, layer, sections)
            voxel = tuple(abs(float(s)) for s in layer.scale[-3:])
            look, more = Placement.of(layer).look, self.inputs(volume, settings)
            limits = tuple(look["contrast_limits"]) if settings.compares_neighbours else None

            def work(job: Job) -> Previewed:
                ready(job)
                runtime = job.runtime(**settings.runtime_options())
                planes = preview(volume, settings, window, voxel, runtime, limits=limits, more=more)
                return Previewed(planes, window, settings, look, layer.unique_id)

            key = f"preview {self.name}"
            return Job(
                "Preview", work, on_done=self._previewed, on_failed=self.refuse, key=key, owner=self.name
            )

        job = self.attempt(prepare)
        return None if job is None else self.session.queue.submit(job)

    def _previewed(self, made: Previewed) -> None:
        self.last_preview = made
        self.previewed.emit(made)

    def run(
        self, layer: Any, channel: int | None = None, settings: VolumeSettings | None = None
    ) -> Job | None:
        """Queue the task; return None when it is refused."""
        chosen = self.settings if settings is None else settings

        def prepare() -> Job:
            volume = self.volume(layer, channel)
            previous, placement = self.previous(layer), placed(layer, chosen)
            more = self.inputs(volume, chosen)

            def work(job: Job) -> tuple[VolumeOutcome, list[Any]]:
                ready(job)
                outcome = run(volume, chosen, job.runtime(**chosen.runtime_options()), previous, more)
                job.cancel.check()
                return outcome, build_volume_layers(outcome, placement)

            job = Job(chosen.title(), work, on_failed=self.refuse, owner=self.name)
            job.on_done = partial(self.show, (layer.unique_id, layer.name), job)
            self.last_request = (layer, chosen, channel)
            return job

        job = self.attempt(prepare)
        return None if job is None else self.session.queue.submit(job)

    def inputs(self, volume: Volume, settings: VolumeSettings) -> dict[str, Any]:  # noqa: ARG002 - for others
        """Return keyword arguments of the task's function that come from other layers.

        Raises:
            InputError: a layer that does not fit.
        """
        return {}

    def previous(self, layer: Any) -> Previous | None:
        """Return what is known of a layer that is itself a result."""
        if PROVENANCE_KEY not in layer.metadata:
            return None
        shown = self.session.shown_by(layer)
        return Previous(
            synthetic=None if shown is None else shown.result.synthetic.data,
            provenance=layer.metadata[PROVENANCE_KEY],
        )

    def show(self, source: tuple[Any, str], job: Job, made: tuple[VolumeOutcome, list[Any]]) -> None:
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
        """Show the notices; where the method is in doubt, offer linear interpolation if the task has it."""
        check = outcome.selfcheck
        beaten = bool(check) and not check["beats_floors"] and self._has_floor(outcome)
        self.noticed.emit(lines, beaten)
        # The dock shows all; what calls for a decision is worth interrupting for.
        if check and not check["beats_floors"]:
            notify.warn(lines[0], [("Use linear instead", self.use_floor)] if beaten else ())

    def _has_floor(self, outcome: VolumeOutcome) -> bool:
        engine = self.session.engine
        is_floor = outcome.result.provenance["method"] == FLOOR_METHOD
        return not is_floor and engine is not None and engine.spec(FLOOR_METHOD, self.name) is not None

    def use_floor(self) -> Job | None:
        """Do the last task again with linear interpolation, instead of its result."""
        if self.last_request is None:
            return None
        layer, settings, channel = self.last_request
        session = self.session
        if find_layer(session.viewer, layer.unique_id) is None:
            self.refuse("the layer is gone: nothing to upsample again")
            return None
        shown = session.shown
        if shown and session.history.done and session.history.done[-1] is shown[-1].step:
            session.undo()
        return self.run(layer, channel, replace(settings, method=FLOOR_METHOD, weights="", params={}))

    # -- the rest ----------------------------------------------------------------------------------

    def copy(self, layer: Any, channel: int | None = None) -> str | None:
        """Put the task as code on the clipboard and return it; None when it is refused."""
        text = self.attempt(lambda: volume_code(self.settings, *self.code_parts(layer, channel)))
        if text is not None:
            QApplication.clipboard().setText(text)
            notify.info("copied: Python, and one line for a terminal")
        return text

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
        for shown in reversed(self.session.shown):
            there = find_layer(self.session.viewer, shown.layer_id) is not None
            if there and shown.result.provenance["task"] == self.name:
                return shown
        return None
