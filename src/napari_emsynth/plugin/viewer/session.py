"""What all docks share of one viewer: jobs, results, history, comparison, export.

Docks, the canvas menu and the menu commands all act through a session, so that they do the same and a
closed dock loses nothing; each task brings what it knows as a child of it. Laws: the session never keeps its viewer
alive; bad input ends in one line to the user, never in an exception; after :meth:`Session.close` no thread lives and no
callback runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.activity import ActivityMirror
from napari_emsynth.plugin.jobs.engine import Engine, load, ready
from napari_emsynth.plugin.jobs.queue import JobQueue, QueuedJob
from napari_emsynth.plugin.layers import convert as layer_tools
from napari_emsynth.plugin.layers.checkerboard import Checkerboard
from napari_emsynth.plugin.layers.convert import volume_of
from napari_emsynth.plugin.layers.history import History
from napari_emsynth.plugin.layers.neighbours import Neighbours
from napari_emsynth.plugin.layers.results import Comparison, Shown
from napari_emsynth.plugin.viewer.preferences import preferences
from napari_emsynth.spec import Result
from napari_emsynth.volume import Volume

# Results remembered for export, comparison and what is made of them: each keeps its arrays.
LONGEST = 20
T = TypeVar("T")
__all__ = ["LONGEST", "Session", "ready"]

_SESSIONS: weakref.WeakKeyDictionary[Any, Session] = weakref.WeakKeyDictionary()


class Session(QObject):
    """The plugin's state in one viewer.

    Signals:
        results_changed: results or history.
        engine_loaded: methods and devices are known.
        noticed: lines the user must be told of the last result (may be empty), and the method that did better, or "".
        closing: the window is gone; whoever works beside the session's queue ends now.
    """

    results_changed = Signal()
    engine_loaded = Signal()
    noticed = Signal(list, str)
    closing = Signal()

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
        self.preferences = preferences()
        self.blink_key = self.preferences.blink_key
        self.engine: Engine | None = None
        self.queue = JobQueue(self)
        self.history = History()
        self.comparison = Comparison()
        self.checkerboard = Checkerboard()
        self.neighbours = Neighbours()
        # Each gives the unique id of a layer that lies over originals and is no result, or None.
        self.covers: list[Callable[[], Any]] = [
            lambda: self.checkerboard.layer_id, lambda: self.neighbours.layer_id,
        ]  # fmt: skip
        # True while mask and uncertainty of a result still come.
        self.is_showing = False
        self.shown: list[Shown] = []
        self._activity = ActivityMirror(self.queue)
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
        self.closing.emit()
        self.queue.close()
        self._activity.close()
        self.shown.clear()
        self.history = History()
        raw = self._viewer()
        if raw is not None:
            _SESSIONS.pop(raw, None)

    # -- engine ------------------------------------------------------------------------------------

    def load_engine(self) -> None:
        """Load torch and the methods in the background, once."""
        if self.engine is None and not any(job.key == "engine" for job in self.queue.jobs):
            self.queue.submit(
                QueuedJob("Load the engine", lambda job: load(job.cancel.check), on_done=self._loaded,
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
        self.noticed.emit([line], "")

    def attempt(self, act: Callable[..., T], *args: Any) -> T | None:
        """Do something that bad input may stop; return None when it did, after telling the user."""
        try:
            return act(*args)
        except InputError as reason:
            self.refuse(str(reason))
            return None

    # -- looking -----------------------------------------------------------------------------------

    def compare(self, on: bool) -> bool:
        """Show the original (or the result again); return whether the original is shown."""
        if not on:
            self.comparison.stop()
        elif not self.comparison.start(self.viewer, self.shown, [cover() for cover in self.covers]):
            notify.info("nothing to compare yet: no result is shown")
        return self.comparison.is_on

    def show_checkerboard(self, on: bool) -> bool:
        """Show original and result in alternating squares (or the result again); return whether they are shown."""
        self.comparison.stop()
        if not on:
            self.checkerboard.hide(self.viewer)
        elif not self.checkerboard.show(self.viewer, self.shown):
            notify.info("nothing to compare in squares: no result is shown that has its original's sections")
        self.results_changed.emit()
        return self.checkerboard.is_on(self.viewer)

    # -- history -----------------------------------------------------------------------------------

    def undo(self) -> str | None:
        """Take the last step back."""
        self.end_comparing()
        title = self.history.undo(self.viewer)
        self.results_changed.emit()
        return title

    def undo_newest(self) -> None:
        """Take the newest result back, where it is the last step: another is to take its place."""
        done = self.history.done
        if self.shown and done and done[-1] is self.shown[-1].step:
            self.undo()

    def redo(self) -> str | None:
        """Do the last undone step again."""
        self.end_comparing()
        title = self.history.redo(self.viewer)
        self.results_changed.emit()
        return title

    def end_comparing(self) -> None:
        """Show the layers as they are: results are about to come or go."""
        self.comparison.stop()
        self.checkerboard.hide(self.viewer)
        self.neighbours.hide(self.viewer)

    def shown_by(self, layer: Any) -> Shown | None:
        """Return the result a layer shows, None when it shows none of ours."""
        data = layer_tools.full_data(layer)
        found = [s for s in self.shown if s.layer_id == layer.unique_id and s.result.volume.data is data]
        return found[-1] if found else None

    # -- export ------------------------------------------------------------------------------------

    def export(self, layer: Any, path: Path, *, overwrite: bool = False) -> QueuedJob | None:
        """Write a layer, with mask and record when it shows a result of ours."""

        def prepare() -> Callable[[QueuedJob], Any]:
            content = self.content_of(layer)
            from napari_emsynth.io import check_output, write
            from napari_emsynth.io.patch import SUFFIX, check_patch_output, write_patch

            if path.name.endswith(SUFFIX):
                source = self.source_of(layer)
                check_patch_output(path, None, overwrite)
                return lambda job: write_patch(
                    content, source, path, overwrite=overwrite, progress=job.report, cancel=job.cancel
                )
            check_output(path, None, overwrite)
            return lambda job: write(content, path, overwrite=overwrite, progress=job.report, cancel=job.cancel)

        work = self.attempt(prepare)
        if work is None:
            return None
        done = partial(self._exported, layer.name)
        return self.queue.submit(QueuedJob(f"Export {path.name}", work, on_done=done, on_failed=self.refuse))

    def _exported(self, name: str, path: Path) -> None:
        notify.info(f"{name!r} is written to {path}")
        self.results_changed.emit()

    def source_of(self, layer: Any) -> Volume:
        """Return the volume that a result was made from.

        Raises:
            InputError: the layer shows no result, one that took the place of its source, or the source is gone.
        """
        shown = self.shown_by(layer)
        if shown is None or shown.layer_id == shown.source_id:
            why = "shows no result" if shown is None else "holds a repair in place, which the source has made way for"
            raise InputError(f"layer {layer.name!r} {why}: a patch is made of a result beside its source")
        source = layer_tools.find_layer(self.viewer, shown.source_id)
        if source is None:
            raise InputError(f"layer {shown.source_name!r} is gone: a patch needs the voxels that it replaces")
        return volume_of(source)

    def content_of(self, layer: Any) -> Any:
        """Return what to write for a layer: a Result with the layer's own voxel size, or a Volume."""
        volume = volume_of(layer)
        shown = self.shown_by(layer)
        if shown is None:
            return volume
        result: Result = shown.result
        width = result.uncertainty
        return replace(
            result,
            volume=volume,
            synthetic=replace(result.synthetic, grid=volume.grid),
            uncertainty=None if width is None else replace(width, grid=volume.grid),
        )


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
