"""A part of a dock that is out of sight until its title is pressed; as wide as the dock, as high as what is in it."""

from __future__ import annotations

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QWIDGETSIZE_MAX, QWidget
from superqt import QCollapsible

CLOSED, OPEN = "▸", "▾"


class Collapsible(QCollapsible):
    """A title, and under it a widget that it shows and hides; closed at first.

    Args:
        title: what is inside.
        inside: the widget.
    """

    def __init__(self, title: str, inside: QWidget) -> None:
        # An arrow in the title has the theme's colour; superqt would draw it in that of the system.
        super().__init__(title, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self.setDuration(0)
        for layout in (self.layout(), self.content().layout()):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(4)
        self.content().layout().addWidget(inside)
        self.toggled.connect(self._fit)
        self._fit(False)

    def _fit(self, is_open: bool) -> None:
        """Out of sight, out of the tab order; in sight, as high as it becomes: superqt would keep the first height."""
        self.setText(f"{OPEN if is_open else CLOSED} {self._title}")
        self.content().setVisible(is_open)
        self.content().setMaximumHeight(QWIDGETSIZE_MAX)
