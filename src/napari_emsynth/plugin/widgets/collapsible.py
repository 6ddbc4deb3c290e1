"""A part of a dock that is folded away until its title is pressed; as wide as the dock, as high as what is in it."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

CLOSED, OPEN = "▸", "▾"


class Fold(QWidget):
    """A title, and under it a widget that it shows and hides.

    Args:
        title: what is inside.
        inside: the widget.
    """

    def __init__(self, title: str, inside: QWidget) -> None:
        super().__init__()
        self.inside, self._title = inside, title
        self.button = QPushButton()
        self.button.setCheckable(True)
        self.button.setStyleSheet("text-align: left; padding-left: 6px;")
        self.button.toggled.connect(self.set_open)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.button)
        layout.addWidget(inside)
        self.set_open(False)

    @property
    def is_open(self) -> bool:
        """True while what is inside is shown."""
        return self.button.isChecked()

    def set_open(self, on: bool) -> None:
        """Show or hide what is inside."""
        self.button.setChecked(on)
        self.button.setText(f"{OPEN if on else CLOSED} {self._title}")
        self.inside.setVisible(on)
