"""Planes of a volume before and after, side by side, in true proportions.

Conventions: lengths are in the layer's own units, whatever they are; each plane has one view, which both its panes
show, so that what is beside each other is the same place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_emsynth.plugin.volume_task.preview import Picture, Plane
from napari_emsynth.volume import Array

# Reslices are long and low: they are enlarged about their middle, until they are this high for their width, but
# no more than so many times.
STRIP_HEIGHT, STRIP_ZOOM = 0.45, 5.0
LOWEST_PX, SPACING_PX = 32, 4
# As high as it is wide, at most.
TALLEST = 1.0
STEP = 1.25
FAINT = 0.35
CROSS = QColor(255, 215, 0, 150)
# A press that moves less than this is a click.
CLICK_PX = 4.0


class View:
    """Where a plane's two panes look: a point (down, across) in length units, and pixels of the screen a unit."""

    def __init__(self) -> None:
        self.down = self.across = 0.0
        self.zoom = 1.0

    def fit(self, picture: Picture, width_px: float, most_px: float) -> float:
        """Look at the middle of a picture in a pane of this width; return how high the pane should be, at most."""
        self.down, self.across = picture.top + picture.height / 2, picture.left + picture.width / 2
        whole = width_px / picture.width
        strip = min(STRIP_ZOOM * whole, STRIP_HEIGHT * width_px / picture.height)
        self.zoom = min(max(whole, strip), min(TALLEST * width_px, most_px) / picture.height)
        return self.zoom * picture.height


class Pane(QWidget):
    """Paints one picture.

    Signals:
        moved: the view was moved or zoomed by the user.
        picked: (down, across), a place was clicked, in length units.
        enlarge_asked: a double click.
    """

    moved = Signal()
    picked = Signal(float, float)
    enlarge_asked = Signal()

    def __init__(self, name: str, view: View, *, wheel_zooms: bool) -> None:
        super().__init__()
        self._name, self._view, self._wheel_zooms = name, view, wheel_zooms
        self._picture: Picture | None = None
        self._image = QImage()
        self._grip: QPointF | None = None
        self._pressed = QPointF()
        self.is_faint = False
        self.cross: tuple[float, float] | None = None
        self.setToolTip("Drag to move both sides, click to lay the reslices there; double-click for a large view")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def picture(self) -> Picture | None:
        """What is shown."""
        return self._picture

    def show_picture(self, picture: Picture, look: dict[str, Any]) -> None:
        """Show another picture, in the colours of a layer."""
        self._picture, self._image = picture, coloured(picture.pixels, look)
        self.update()

    def target(self) -> QRectF:
        """Return where the picture lies, in pixels of the pane."""
        assert self._picture is not None
        p, v = self._picture, self._view
        left = (p.left - v.across) * v.zoom + self.width() / 2
        top = (p.top - v.down) * v.zoom + self.height() / 2
        return QRectF(left, top, p.width * v.zoom, p.height * v.zoom)

    def paintEvent(self, _event: Any) -> None:  # noqa: N802 - Qt's name
        """Paint the picture and its name."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(0, 0, 0))
        if self._picture is not None:
            painter.setOpacity(FAINT if self.is_faint else 1.0)
            painter.drawImage(self.target(), self._image)
            painter.setOpacity(1.0)
            self._draw_cross(painter)
        # Readable on any grey.
        corner = painter.fontMetrics().boundingRect(self._name).adjusted(-2, 0, 4, 0)
        corner.moveTo(0, 0)
        painter.fillRect(corner, QColor(0, 0, 0, 150))
        painter.setPen(QColor(240, 240, 240))
        painter.drawText(corner, Qt.AlignmentFlag.AlignCenter, self._name)
        painter.end()

    def _draw_cross(self, painter: QPainter) -> None:
        """Draw where the other planes run."""
        if self.cross is None:
            return
        down, across = self.cross
        v, width, height = self._view, self.width(), self.height()
        painter.setPen(QPen(CROSS, 1, Qt.PenStyle.DashLine))
        y, x = (down - v.down) * v.zoom + height / 2, (across - v.across) * v.zoom + width / 2
        painter.drawLine(QPointF(0, y), QPointF(width, y))
        painter.drawLine(QPointF(x, 0), QPointF(x, height))

    def mousePressEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take hold of the picture."""
        self._grip = self._pressed = event.position()

    def mouseMoveEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Move it."""
        if self._grip is not None and far(event.position() - self._pressed):
            by = event.position() - self._grip
            self._grip = event.position()
            self._view.across -= by.x() / self._view.zoom
            self._view.down -= by.y() / self._view.zoom
            self.moved.emit()

    def mouseReleaseEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Let go; what was not moved was clicked."""
        clicked, self._grip = self._grip is not None and not far(event.position() - self._pressed), None
        if clicked and self._picture is not None:
            at, v = event.position(), self._view
            self.picked.emit(
                v.down + (at.y() - self.height() / 2) / v.zoom, v.across + (at.x() - self.width() / 2) / v.zoom
            )

    def mouseDoubleClickEvent(self, _event: Any) -> None:  # noqa: N802 - Qt's name
        """Ask for a larger view."""
        self.enlarge_asked.emit()

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Zoom about the pointer; in a dock the wheel is left to scrolling."""
        if not self._wheel_zooms:
            event.ignore()
            return
        by = STEP if event.angleDelta().y() > 0 else 1 / STEP
        at, v = event.position(), self._view
        # The point under the pointer stays there.
        v.across += (at.x() - self.width() / 2) / v.zoom * (1 - 1 / by)
        v.down += (at.y() - self.height() / 2) / v.zoom * (1 - 1 / by)
        v.zoom *= by
        self.moved.emit()


class Reslices(QWidget):
    """Rows of planes, before on the left and after on the right.

    Signals:
        enlarge_asked: a pane was double-clicked.
        picked: (name, down, across), a place in a plane was clicked, in length units.
    """

    enlarge_asked = Signal()
    picked = Signal(str, float, float)

    def __init__(
        self, names: Sequence[str] = ("xz", "yz", "xy"), *, wheel_zooms: bool = False, most_px: float = math.inf
    ) -> None:
        super().__init__()
        # Of the height of a pane.
        self._most_px = most_px
        self.views = {name: View() for name in names}
        self.panes: dict[str, tuple[Pane, Pane]] = {}
        self._planes: dict[str, Plane] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACING_PX)
        for column, word in enumerate(("before", "after")):
            grid.addWidget(QLabel(word), 0, column, Qt.AlignmentFlag.AlignHCenter)
            grid.setColumnStretch(column, 1)
        for row, (name, view) in enumerate(self.views.items(), 1):
            pair = tuple(Pane(name, view, wheel_zooms=wheel_zooms) for _ in range(2))
            self.panes[name] = (pair[0], pair[1])
            for column, pane in enumerate(pair):
                grid.addWidget(pane, row, column)
                pane.moved.connect(self._repaint)
                pane.enlarge_asked.connect(self.enlarge_asked)
                pane.picked.connect(lambda down, across, name=name: self.picked.emit(name, down, across))

    def show_planes(self, planes: Sequence[Plane], look: dict[str, Any]) -> None:
        """Show other planes in the colours of a layer; those whose name is not among ours are passed over."""
        self._planes = {plane.name: plane for plane in planes if plane.name in self.views}
        for name, plane in self._planes.items():
            before, after = self.panes[name]
            before.show_picture(plane.before, look)
            after.show_picture(plane.after, look)
        self.set_faint(False)
        self.fit()

    def set_crosses(self, crosses: Mapping[str, tuple[float, float]]) -> None:
        """Draw, in each of these planes, where the others run: (down, across) in length units."""
        for name, pair in self.panes.items():
            for pane in pair:
                pane.cross = crosses.get(name)
                pane.update()

    def set_rows(self, names: Sequence[str]) -> None:
        """Show these rows, hide the others."""
        for name, pair in self.panes.items():
            for pane in pair:
                pane.setVisible(name in names)

    def set_faint(self, faint: bool) -> None:
        """Show the pictures faintly: they are of other settings than those chosen now."""
        for pair in self.panes.values():
            for pane in pair:
                pane.is_faint = faint
                pane.update()

    def fit(self) -> None:
        """Look at the middle of every plane, and give every pane the height it needs."""
        width = max(1.0, (self.width() - SPACING_PX) / 2)
        for name, plane in self._planes.items():
            height = self.views[name].fit(plane.before, width, self._most_px)
            for pane in self.panes[name]:
                pane.setFixedHeight(max(LOWEST_PX, round(height)))
        self._repaint()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Heights follow the width."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.fit()

    def _repaint(self) -> None:
        for pair in self.panes.values():
            for pane in pair:
                pane.update()


# It takes so much of the screen's height, of which so much is for what is around the panes.
SCREEN_SHARE, AROUND_PX = 0.85, 80


class ResliceWindow(QDialog):
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


def far(step: QPointF) -> bool:
    """True when the pointer was moved on purpose."""
    return bool(step.manhattanLength() >= CLICK_PX)


def coloured(pixels: Array, look: dict[str, Any]) -> QImage:
    """Return pixels [rows, columns] as a layer with these contrast limits, gamma and colour map shows them.

    Pixels [rows, columns, 3] uint8 have their colours already.
    """
    rows, columns = pixels.shape[:2]
    if pixels.ndim == 3:
        colours = np.ascontiguousarray(pixels)
        # A copy: the array is gone when we return.
        return QImage(colours.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888).copy()
    low, high = (float(v) for v in look["contrast_limits"])
    share = np.clip((np.nan_to_num(pixels.astype(np.float32)) - low) / max(high - low, 1e-12), 0, 1)
    table = (255 * np.asarray(look["colormap"].map(np.linspace(0, 1, 256)))).round().astype(np.uint8)
    colours = np.ascontiguousarray(table[(255 * share ** float(look["gamma"])).round().astype(np.uint8)])
    return QImage(colours.data, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888).copy()
