"""What every dock of ours does: scroll, stay narrow, and notice when it is closed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QDockWidget, QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_emsynth.plugin.viewer.session import Session

WIDTH = 300


class Dock(QWidget):
    """A narrow column: what scrolls above, what must always be in reach below.

    Args:
        viewer: raw or proxied.
    """

    # Of the jobs that end with the dock.
    owner = ""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self.session = Session.of(viewer)
        self.body, self.foot = QVBoxLayout(), QVBoxLayout()
        inside = QWidget()
        inside.setLayout(self.body)
        self.body.setContentsMargins(6, 6, 6, 6)
        self.body.setSpacing(6)
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(inside)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(self.scroll, 1)
        self.foot.setContentsMargins(6, 0, 6, 6)
        self.foot.setSpacing(4)
        outside.addLayout(self.foot)
        self._left = False

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Narrow, and no taller than a laptop's screen."""
        return QSize(WIDTH, 560)

    def minimumSizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Small: the rest scrolls."""
        return QSize(240, 200)

    def leave(self) -> None:
        """Let go of the viewer; called once, when the dock is closed for good."""

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Follow the dock we are put in; without one any more we were closed."""
        if event.type() == QEvent.Type.ParentChange:
            if isinstance(self.parent(), QDockWidget):
                self.parent().installEventFilter(self)
            elif self.parent() is None:
                self._close_for_good()
        super().changeEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Cancel work when the dock is closed or hidden by its button."""
        if event.type() == QEvent.Type.Close and isinstance(watched, QDockWidget):
            self.session.queue.cancel_all(owner=self.owner)
        return False

    def _close_for_good(self) -> None:
        if self._left:
            return
        self._left = True
        if not self.session.is_closed:
            self.session.queue.cancel_all(owner=self.owner)
            self.leave()
        # napari takes us out of the dock and forgets us.
        self.deleteLater()
