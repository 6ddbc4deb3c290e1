"""Notices when the view of a viewer has come to rest after it was moved, zoomed or taken to another section."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_emsynth.plugin.layers.view_3d import camera

# A slider may run through many sections: who waits for it is told when it rests.
DELAY_MS = 150


class AutoPreview(QObject):
    """Follows a viewer while it is on.

    Args:
        viewer: raw or proxied.
        parent: whose end it shares.

    Signals:
        rested: the view is another than before.
    """

    rested = Signal()

    def __init__(self, viewer: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._events: tuple[Any, ...] = ()
        self._timer = QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self.rested)

    @property
    def is_on(self) -> bool:
        """True while the view is followed."""
        return bool(self._events)

    def start(self) -> None:
        """Follow the view, beginning with the one there is."""
        if not self._events:
            seen = camera(self._viewer).events
            self._events = (self._viewer.dims.events.current_step, seen.zoom, seen.center)
            for event in self._events:
                event.connect(self.ask)
        self.ask()

    def stop(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        for event in self._events:
            event.disconnect(self.ask)
        self._events = ()

    def ask(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """Wait for the view to rest; without effect while it is not followed."""
        if self._events:
            self._timer.start()
