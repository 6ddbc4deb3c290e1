"""What the user must be told of the last result, and the way out."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout

from napari_emsynth.plugin.jobs.notify import use_instead


class Notices(QFrame):
    """Hidden while there is nothing to say.

    Signals:
        instead_asked: the method that did better is to be used; its id.
    """

    instead_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.instead = ""
        self.setObjectName("emsynthNotices")
        self.setStyleSheet("#emsynthNotices { border: 1px solid #c98a2b; border-radius: 3px; }")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.button = QPushButton()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        self.button.clicked.connect(lambda: self.instead_asked.emit(self.instead))
        self.setVisible(False)

    def show_lines(self, lines: list[str], instead: str) -> None:
        """Show these lines, and the button where another method (its id, or "") is the better choice."""
        self.text.setText("\n".join(lines))
        self.instead = instead
        self.button.setText(use_instead(instead))
        self.button.setVisible(bool(instead))
        self.setVisible(bool(lines))


class Sentences(QLabel):
    """A label as high as its text needs at its width: forms forget it when fonts change or rows come and go."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)

    def setText(self, text: str) -> None:  # noqa: N802 - Qt's name
        """Say something else."""
        super().setText(text)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """The height follows the width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """It follows the font, too."""
        super().changeEvent(event)
        self._fit()

    def _fit(self) -> None:
        # Without a minimum of its own: the label would count it.
        self.setMinimumHeight(0)
        self.setMinimumHeight(self.heightForWidth(self.width()) if self.text() else 0)


def remark() -> Sentences:
    """Return a label for a sentence or two, set off from what is around it."""
    label = Sentences()
    label.setStyleSheet("color: #9aa0a8;")
    return label
