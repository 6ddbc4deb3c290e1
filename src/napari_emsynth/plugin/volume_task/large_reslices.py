"""Planes of a volume before and after, in a window of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

from napari_emsynth.plugin.volume_task.preview import Plane
from napari_emsynth.plugin.volume_task.reslices import Reslices

# It takes so much of the screen's height, of which so much is for what is around the panes.
SCREEN_SHARE, AROUND_PX = 0.85, 80


class LargeReslices(QDialog):
    """The same planes in a window of their own: the wheel zooms, dragging moves.

    Args:
        parent: the window.
        planes: what to show.
        look: colours of the layer.
        title: what it is of.
        names: of the planes to show.
    """

    def __init__(
        self,
        parent: QWidget,
        planes: Sequence[Plane],
        look: dict[str, Any],
        title: str,
        names: Sequence[str] = ("xz", "yz"),
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        most = (SCREEN_SHARE * parent.screen().availableGeometry().height() - AROUND_PX) / len(names)
        self.reslices = Reslices(names, wheel_zooms=True, most_px=most)
        hint = QLabel("wheel: zoom, drag: move; both sides show the same place")
        layout = QVBoxLayout(self)
        layout.addWidget(self.reslices)
        layout.addWidget(hint)
        layout.addStretch(1)
        self.resize(1100, 600)
        self.reslices.show_planes(planes, look)
