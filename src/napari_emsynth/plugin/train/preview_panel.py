"""The preview of a training: a section before, now and in truth, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_emsynth.plugin.train.preview import Panel
from napari_emsynth.volume import Array


class Picture(QWidget):
    """One picture, as wide as there is room, with its caption under it."""

    def __init__(self) -> None:
        super().__init__()
        self._pixmap = QPixmap()
        self.image, self.caption = QLabel(), QLabel()
        self.image.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.caption.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.image)
        layout.addWidget(self.caption)
        layout.addStretch(1)

    def show_panel(self, panel: Panel) -> None:
        """Show a picture."""
        self._pixmap = QPixmap.fromImage(grey(panel.image))
        self.caption.setText(panel.caption)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Keep the picture as wide as we are."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._pixmap.isNull() or self.width() < 8:
            return
        size = QSize(self.width(), round(self.width() * self._pixmap.height() / self._pixmap.width()))
        smooth = Qt.TransformationMode.SmoothTransformation
        self.image.setPixmap(self._pixmap.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, smooth))
        self.image.setFixedHeight(size.height())


class TrainingPanels(QWidget):
    """Shows what it is given; hidden while that is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: tuple[Panel, ...] = ()
        self.pictures: list[Picture] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        self.hide()

    def show_panels(self, panels: Sequence[Panel]) -> None:
        """Show these, when they are new."""
        if panels is self.shown:
            return
        self.shown = tuple(panels) if not isinstance(panels, tuple) else panels
        while len(self.pictures) < len(panels):
            self.pictures.append(Picture())
            self._row.addWidget(self.pictures[-1], 1)
        for picture, panel in zip(self.pictures, panels, strict=False):
            picture.show_panel(panel)
        for n, picture in enumerate(self.pictures):
            picture.setVisible(n < len(panels))
        self.setVisible(bool(panels))


def grey(image: Array) -> QImage:
    """Return a picture [rows, columns] uint8 as Qt has it."""
    rows, columns = image.shape
    data = np.ascontiguousarray(image).tobytes()
    # A copy: Qt does not keep the bytes.
    return QImage(data, columns, rows, columns, QImage.Format.Format_Grayscale8).copy()
