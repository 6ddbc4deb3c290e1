"""What the user must be told of the last result, and the way out."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout


class Notices(QFrame):
    """Hidden while there is nothing to say.

    Signals:
        floor_asked: "Use linear instead" was pressed.
    """

    floor_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("emsynthNotices")
        self.setStyleSheet("#emsynthNotices { border: 1px solid #c98a2b; border-radius: 3px; }")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.button = QPushButton("Use linear instead")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        self.button.clicked.connect(lambda: self.floor_asked.emit())
        self.setVisible(False)

    def show_lines(self, lines: list[str], floor_helps: bool) -> None:
        """Show these lines, and the button when linear interpolation is the better choice."""
        self.text.setText("\n".join(lines))
        self.button.setVisible(floor_helps)
        self.setVisible(bool(lines))


def remark() -> QLabel:
    """Return a label for a sentence or two, set off from what is around it."""
    label = QLabel()
    label.setWordWrap(True)
    label.setStyleSheet("color: #9aa0a8;")
    return label
