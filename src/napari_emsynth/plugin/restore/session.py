"""What the plugin knows of repairs in one viewer: marks, settings, the preview, the last repair.

It belongs to the viewer's session, whose queue, results and history it uses, so that a closed dock loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_emsynth.plugin.copy_as_code import source_path, to_clipboard
from napari_emsynth.plugin.layers.convert import volume_of
from napari_emsynth.plugin.restore.code import as_code
from napari_emsynth.plugin.restore.marking import Marking
from napari_emsynth.plugin.restore.marks import Marks
from napari_emsynth.plugin.restore.preview import Preview
from napari_emsynth.plugin.restore.request import DEFAULT_METHOD, RestoreRequest, Settings
from napari_emsynth.plugin.restore.run import Repairing
from napari_emsynth.plugin.viewer.session import Session


class RestoreTask(Marking, Repairing, QObject):
    """Repairs in one viewer.

    Signals:
        marks_changed: the list of marked sections of some layer.
        settings_changed: the settings, by someone else than the form.
        layer_chosen: a layer was worked on from the canvas.
    """

    marks_changed = Signal()
    settings_changed = Signal()
    layer_chosen = Signal(object)

    @classmethod
    def of(cls, session: Session) -> RestoreTask:
        """Return the session's, made on first use."""
        found: RestoreTask | None = session.findChild(cls)
        return found or cls(session)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        start = session.preferences
        self.settings = Settings(
            method=start.method or DEFAULT_METHOD, place="in place" if start.in_place else "new layer", **start.common()
        )
        self.preview = Preview()
        session.covers.append(lambda: self.preview.layer_id)
        self.menu: Any = None
        session.closing.connect(self._close)
        # The open Restore sections dock; weak, it belongs to the window.
        self.dock: Callable[[], QWidget | None] = lambda: None
        self.last_request: tuple[Any, RestoreRequest, int | None] | None = None
        self._marks: dict[Any, Marks] = {}

    def set_settings(self, settings: Settings) -> None:
        """Take new settings and tell who shows them."""
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()

    def copy(self, layer: Any, channel: int | None = None) -> str | None:
        """Put the code of what is marked in a layer on the clipboard, else of the last repair; return it."""
        request = RestoreRequest.of(self.marks_of(layer), self.settings)
        if not (request.sections or request.inserts or request.regions) and self.last_request is not None:
            layer, request, channel = self.last_request

        def act() -> str:
            volume = volume_of(layer, channel)
            request.check(volume.shape[0])
            return as_code(request, volume, source_path(layer))

        return to_clipboard(self.session.attempt(act))

    def _close(self) -> None:
        self.menu = None
