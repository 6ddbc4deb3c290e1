"""Everything the plugin knows of one viewer: marks, settings, jobs, results, history.

The dock, the canvas menu and the menu commands all act through a session, so that they do the same and a
closed dock loses nothing. Laws: the session never keeps its viewer alive; bad input ends in one line to the
user, never in an exception; after :meth:`Session.close` no thread lives and no callback runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.plugin import layers as layer_tools
from napari_emsynth.plugin import masks, notify
from napari_emsynth.plugin.activity import LOADING, ActivityMirror
from napari_emsynth.plugin.engine import Engine, load
from napari_emsynth.plugin.history import ChangedMarks, History
from napari_emsynth.plugin.jobs import Job, JobQueue
from napari_emsynth.plugin.layers import PROVENANCE_KEY, Placement, find_layer, volume_of
from napari_emsynth.plugin.marks import Mark, Marks, add, check_section, run_around, scored
from napari_emsynth.plugin.preview import Preview, is_preview
from napari_emsynth.plugin.request import (
    FLOOR_METHOD,
    Outcome,
    Previous,
    Request,
    Settings,
    preview_section,
    restore,
)
from napari_emsynth.plugin.results import (
    Comparison,
    Shown,
    build_layers,
    family,
    show_as_layer,
    show_in_place,
)
from napari_emsynth.plugin.settings import preferences
from napari_emsynth.spec import Result

# Results remembered for export, comparison and "previous": each keeps its arrays.
LONGEST = 20
_SESSIONS: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


class Session(QObject):
    """The plugin's state in one viewer.

    Signals:
        marks_changed: the list of marked sections of some layer.
        results_changed: results or history.
        settings_changed: the settings, by someone else than the form.
        engine_loaded: methods and devices are known.
        noticed: lines the user must be told of the last result (may be empty), and whether linear would help.
        layer_chosen: a layer was worked on from the canvas.
    """

    marks_changed = Signal()
    results_changed = Signal()
    settings_changed = Signal()
    engine_loaded = Signal()
    noticed = Signal(list, bool)
    layer_chosen = Signal(object)

    @classmethod
    def of(cls, viewer: Any) -> Session:
        """Return the viewer's session, made on first use; a proxy and its viewer share one."""
        raw = layer_tools.unwrap(viewer)
        if raw not in _SESSIONS:
            _SESSIONS[raw] = cls(viewer)
        return _SESSIONS[raw]

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        raw = layer_tools.unwrap(viewer)
        self._viewer = weakref.ref(raw)
        # A proxy is made anew when it is needed: ours would otherwise be the only thing that keeps it.
        self._wrap: Callable[[Any], Any] = (lambda v: v) if raw is viewer else type(viewer)
        start = preferences()
        self.settings: Settings = start.settings
        self.blink_key = start.blink_key
        self.engine: Engine | None = None
        self.queue = JobQueue(self)
        self.history = History()
        self.preview = Preview()
        self.comparison = Comparison()
        self.menu: Any = None
        # True while mask and uncertainty of a result still come.
        self.is_showing = False
        # The open Restore sections dock; weak, it belongs to the window.
        self.dock: Callable[[], QWidget | None] = lambda: None
        self.shown: list[Shown] = []
        self.last_request: tuple[Any, Request, int | None] | None = None
        self._activity = ActivityMirror(self.queue)
        self._marks: dict[Any, Marks] = {}
        self._closed = False
        # Weak: the window leads to the viewer.
        self._window: Callable[[], QWidget | None] = lambda: None
        self._watch(window_of(raw))

    # -- life --------------------------------------------------------------------------------------

    @property
    def viewer(self) -> Any:
        """The viewer, as it was given to us (raw or proxy)."""
        raw = self._viewer()
        if raw is None:
            raise RuntimeError("the viewer is gone")
        return self._wrap(raw)

    @property
    def is_closed(self) -> bool:
        """True once the window is gone."""
        return self._closed

    @property
    def window(self) -> QWidget | None:
        """The napari window, as the parent of menus and dialogs."""
        return self._window()

    def _watch(self, window: QWidget | None) -> None:
        """Close with the window: napari has no public signal for it, Qt has."""
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)
        if window is not None:
            self._window = weakref.ref(window)
            window.installEventFilter(self)
            window.destroyed.connect(self.close)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """See the window close; whether it really does (napari may ask) is known a turn later."""
        if event.type() == QEvent.Type.Close and isinstance(watched, QMainWindow):
            QTimer.singleShot(0, self._close_if_hidden)
        return False

    def _close_if_hidden(self) -> None:
        window = self._window()
        if window is None or not window.isVisible():
            self.close()

    def close(self) -> None:
        """Cancel all work, wait for its thread, let go of everything."""
        if self._closed:
            return
        self._closed = True
        self.queue.close()
        self._activity.close()
        self.shown.clear()
        self.menu = None
        self.history = History()
        raw = self._viewer()
        if raw is not None:
            _SESSIONS.pop(raw, None)

    # -- settings and engine -----------------------------------------------------------------------

    def set_settings(self, settings: Settings) -> None:
        """Take new settings and tell who shows them."""
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()

    def load_engine(self) -> None:
        """Load torch and the methods in the background, once."""
        if self.engine is None and not any(job.key == "engine" for job in self.queue.jobs):
            self.queue.submit(
                Job("Load the engine", lambda job: load(job.cancel.check), on_done=self._loaded,
                on_failed=self.refuse,
                    quiet=True, key="engine")
            )  # fmt: skip

    def _loaded(self, engine: Engine) -> None:
        self.engine = engine
        self.engine_loaded.emit()

    # -- telling -----------------------------------------------------------------------------------

    def refuse(self, line: str) -> None:
        """Tell the user, in one line, that something cannot be done."""
        notify.warn(line)
        self.noticed.emit([line], False)

    def attempt(self, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do something that bad input may stop; return None when it did, after telling the user."""
        try:
            return act(*args, **kwargs)
        except InputError as reason:
            self.refuse(str(reason))
            return None

    # -- marks -------------------------------------------------------------------------------------

    def marks_of(self, layer: Any) -> Marks:
        """Return what is marked in a layer."""
        return () if layer is None else self._marks.get(layer.unique_id, ())

    def put_marks(self, layer_id: Any, marks: Marks) -> None:
        """Set a layer's marks without a step of history."""
        self._marks[layer_id] = marks
        self.marks_changed.emit()

    def set_marks(self, layer: Any, marks: Marks, title: str) -> None:
        """Set a layer's marks; can be undone."""
        before = self.marks_of(layer)
        if marks == before:
            return
        put = partial(self.put_marks, layer.unique_id)
        self.history.add(ChangedMarks(title, put, before, marks))
        put(marks)
        self.results_changed.emit()

    def mark(self, layer: Any, section: int, treatment: str = "replace", origin: str = "by hand") -> None:
        """Mark one section; bad input is refused."""

        def act() -> None:
            layer_tools.check_layer(layer)
            check_section(section, layer_tools.full_data(layer).shape[-3])
            new = Mark(section=section, treatment=treatment, origin=origin)  # type: ignore[arg-type]
            self.set_marks(layer, add(self.marks_of(layer), [new]), f"Mark section {section}")
            self.layer_chosen.emit(layer.unique_id)

        self.attempt(act)

    def unmark(self, layer: Any, section: int) -> None:
        """Take every mark off one section."""
        left = tuple(m for m in self.marks_of(layer) if m.section != section)
        self.set_marks(layer, left, f"Unmark section {section}")

    def detect(self, layer: Any, channel: int | None = None) -> Job | None:
        """Look for damaged sections and mark them."""
        volume = self.attempt(volume_of, layer, channel)
        if volume is None:
            return None

        def work(job: Job) -> Any:
            from napari_emsynth.trust.detect import detect

            return detect(volume, progress=job.report, cancel=job.cancel)

        def done(suspects: list[Any]) -> None:
            new = [Mark(section=s.section, origin=f"detected: {s.kind}") for s in suspects]
            self.set_marks(layer, add(self.marks_of(layer), new), "Detect damaged sections")
            notify.info(
                f"{len(new)} suspected section(s) in {volume.name!r}" if new else "no damaged section found"
            )

        return self.queue.submit(Job("Detect damaged sections", work, on_done=done, on_failed=self.refuse))

    def mark_from(self, layer: Any, mask: Any, *, whole: bool) -> Job | None:
        """Mark what is drawn in a labels or shapes layer: its pixels only, or whole sections."""

        def prepare() -> Callable[[Job], Any]:
            layer_tools.check_layer(layer)
            masks.check_mask_layer(mask, layer)
            if layer_tools.type_of(mask) == "labels":
                data = layer_tools.full_data(mask)
                return lambda job: masks.painted(data, job.cancel.check)
            drawn = masks.outlines(mask, layer, layer_tools.current_section(self.viewer, layer))
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
                self.refuse(f"nothing is drawn in layer {mask.name!r} inside the stack")
            self.set_marks(layer, add(self.marks_of(layer), new), f"Mark from {mask.name}")

        work = self.attempt(prepare)
        if work is None:
            return None
        return self.queue.submit(Job("Read the mask", work, on_done=done, on_failed=self.refuse))

    # -- repair ------------------------------------------------------------------------------------

    def run_marked(self, layer: Any, channel: int | None = None) -> Job | None:
        """Repair everything that is marked in a layer."""
        return self.run(layer, Request.of(self.marks_of(layer), self.settings), channel)

    def interpolate_at(self, layer: Any, section: int, *, place: str = "") -> Job | None:
        """Repair one section, together with the marked ones that adjoin it."""
        settings = replace(self.settings, place=place) if place else self.settings
        sections = run_around(self.marks_of(layer), section)
        return self.run(layer, Request(sections=tuple(sections), settings=settings))

    def insert_at(self, layer: Any, section: int) -> Job | None:
        """Insert a new section before one."""
        return self.run(layer, Request(inserts=(section,), settings=self.settings), jump=True)

    def run(
        self, layer: Any, request: Request, channel: int | None = None, *, jump: bool = False
    ) -> Job | None:
        """Queue a repair; return None when it is refused."""

        def prepare() -> Job:
            volume = volume_of(layer, channel)
            request.check(volume.shape[0])
            if request.settings.place == "in place" and (layer.ndim != 3 or layer.multiscale):
                raise InputError(f"layer {layer.name!r} is 4-D or multiscale; it cannot be changed in place")
            previous, source = self._previous(layer), (layer.unique_id, layer.name, Placement.of(layer))

            def work(job: Job) -> tuple[Outcome, list[Any]]:
                ready(job)
                outcome = restore(
                    volume, request, job.runtime(**request.settings.runtime_options()), previous
                )
                job.cancel.check()
                in_place = request.settings.place == "in place"
                return outcome, [] if in_place else build_layers(outcome, source[2])

            job = Job(request.title(), work, on_failed=self.refuse)
            job.on_done = partial(self._show, layer, source, job, jump)
            self.last_request = (layer, request, channel)
            return job

        job = self.attempt(prepare)
        return None if job is None else self.queue.submit(job)

    def _previous(self, layer: Any) -> Previous | None:
        """Return what is synthetic in a layer already."""
        if PROVENANCE_KEY not in layer.metadata:
            return None
        record = self.shown_by(layer)
        return Previous(
            None if record is None else record.result.synthetic.data, layer.metadata[PROVENANCE_KEY]
        )

    def shown_by(self, layer: Any) -> Shown | None:
        """Return the result a layer shows, None when it shows none of ours."""
        data = layer_tools.full_data(layer)
        found = [s for s in self.shown if s.layer_id == layer.unique_id and s.result.volume.data is data]
        return found[-1] if found else None

    def _show(
        self,
        layer: Any,
        source: tuple[Any, str, Placement],
        job: Job,
        jump: bool,
        made: tuple[Outcome, list[Any]],
    ) -> None:
        """Bring a finished repair to the screen."""
        outcome, layers = made
        viewer = self.viewer
        self.comparison.stop()
        self.preview.hide(viewer)
        if outcome.request.settings.place == "in place":
            shown = show_in_place(layer, outcome)
        else:
            below = family(source[0], self.shown)
            self.is_showing = True
            shown = show_as_layer(viewer, source[:2], outcome, layers, below, self._all_shown)
        self.history.add(shown.step)
        self.shown = [*self.shown, shown][-LONGEST:]
        self._marks[source[0]] = scored(self._marks.get(source[0], ()), outcome.entries)
        target = find_layer(viewer, shown.layer_id)
        if jump and target is not None:
            layer_tools.show_section(viewer, target, outcome.shown())
        self.marks_changed.emit()
        self.results_changed.emit()
        self._tell([*outcome.notices, *job.notes], outcome)

    def _all_shown(self) -> None:
        """The last companion of a result is on the screen."""
        self.is_showing = False
        self.results_changed.emit()

    def _tell(self, lines: list[str], outcome: Outcome) -> None:
        """Show the notices; where the model is in doubt, offer the floor."""
        checks = [e.get("selfcheck") for e in outcome.entries.values()]
        beaten = outcome.request.settings.method != FLOOR_METHOD and any(
            c and not c["beats_floors"] for c in checks
        )
        self.noticed.emit(lines, beaten)
        for line in lines:
            notify.warn(line, [("Use linear instead", self.use_floor)] if beaten else ())
            beaten = False

    def use_floor(self) -> Job | None:
        """Repeat the last repair with linear interpolation instead of its result."""
        if self.last_request is None:
            return None
        layer, request, channel = self.last_request
        if self.shown and self.history.done and self.history.done[-1] is self.shown[-1].step:
            self.undo()
        settings = replace(request.settings, method=FLOOR_METHOD, weights="", params={})
        return self.run(layer, replace(request, settings=settings), channel)

    # -- looking -----------------------------------------------------------------------------------

    def preview_at(self, layer: Any, section: int, channel: int | None = None) -> Job | None:
        """Show what a repair would put at a section; a newer preview takes the place of an older one."""
        if layer is not None and is_preview(layer):
            return None
        volume = self.attempt(volume_of, layer, channel)
        if volume is None or self.attempt(check_section, section, volume.shape[0]) is None:
            return None
        if layer.ndim != 3:
            self.refuse("the preview needs a 3-D layer; a repair works on 4-D ones too")
            return None
        marks, settings = self.marks_of(layer), self.settings

        def work(job: Job) -> Any:
            ready(job)
            return preview_section(
                volume, marks, section, settings, job.runtime(**settings.runtime_options())
            )

        def done(pixels: Any) -> None:
            if find_layer(self.viewer, layer.unique_id) is not None:
                self.preview.show(self.viewer, layer, section, pixels, family(layer.unique_id, self.shown))
                self.results_changed.emit()

        return self.queue.submit(
            Job(
                f"Preview section {section}",
                work,
                on_done=done,
                on_failed=self.refuse,
                quiet=True,
                key="preview",
            )
        )

    def end_preview(self) -> None:
        """Take the preview away."""
        for job in self.queue.jobs:
            if job.key == "preview":
                job.cancel.cancel()
        if not self._closed:
            self.preview.hide(self.viewer)

    def compare(self, on: bool) -> bool:
        """Show the original (or the result again); return whether the original is shown."""
        if not on:
            self.comparison.stop()
        elif not self.comparison.start(self.viewer, self.shown, [self.preview.layer_id]):
            notify.info("nothing to compare yet: no result is shown")
        return self.comparison.is_on

    # -- history -----------------------------------------------------------------------------------

    def undo(self) -> str | None:
        """Take the last step back."""
        self.comparison.stop()
        title = self.history.undo(self.viewer)
        self.results_changed.emit()
        return title

    def redo(self) -> str | None:
        """Do the last undone step again."""
        self.comparison.stop()
        title = self.history.redo(self.viewer)
        self.results_changed.emit()
        return title

    # -- export ------------------------------------------------------------------------------------

    def export(self, layer: Any, path: Path, *, overwrite: bool = False) -> Job | None:
        """Write a layer, with mask and record when it shows a result of ours."""

        def prepare() -> Callable[[Job], Any]:
            content = self.content_of(layer)
            from napari_emsynth.io import check_output, write

            check_output(path, None, overwrite)
            return lambda job: write(
                content, path, overwrite=overwrite, progress=job.report, cancel=job.cancel
            )

        work = self.attempt(prepare)
        if work is None:
            return None
        done = partial(self._exported, layer.name)
        return self.queue.submit(Job(f"Export {path.name}", work, on_done=done, on_failed=self.refuse))

    def _exported(self, name: str, path: Path) -> None:
        notify.info(f"{name!r} is written to {path}")
        self.results_changed.emit()

    def content_of(self, layer: Any) -> Any:
        """Return what to write for a layer: a Result with the layer's own voxel size, or a Volume."""
        volume = volume_of(layer)
        shown = self.shown_by(layer)
        if shown is None:
            return volume
        result: Result = shown.result
        grid = volume.grid
        parts = {
            name: None if part is None else replace(part, grid=grid)
            for name, part in (("synthetic", result.synthetic), ("uncertainty", result.uncertainty))
        }
        return replace(result, volume=volume, **parts)


def ready(job: Job) -> None:
    """Load the engine before a job needs it: its own imports would hold the window up."""
    job.report(0, 0, LOADING)
    load(job.cancel.check)
    job.report(0, 0, "")


def window_of(viewer: Any) -> QWidget | None:
    """Return the Qt window of a raw viewer.

    napari has no public name for it. Where the private one is gone, the only window there is will do; without one
    the session still ends with the application.
    """
    known = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if isinstance(known, QWidget):
        return known
    windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow)]
    return windows[0] if len(windows) == 1 else None
