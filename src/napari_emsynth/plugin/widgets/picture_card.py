"""A choice with a picture above it, as questions are asked that are easier seen than said."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolButton

# The picture's place, and the frame of what is chosen.
PICTURE = QSize(128, 56)
CHOSEN = "#ffd700"


def picture_card(title: str, picture: QPixmap, lines: int) -> QToolButton:
    """Return a button that can be chosen.

    Args:
        title: below the picture, of several lines.
        picture: of :data:`PICTURE` size, or a multiple of it for sharp screens.
        lines: of text that are made room for.
    """
    card = QToolButton()
    card.setText(title)
    card.setIcon(QIcon(picture))
    card.setIconSize(PICTURE)
    card.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
    card.setCheckable(True)
    card.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    card.setStyleSheet(
        "QToolButton { padding: 4px; font-size: 8pt; border: 1px solid #5a6270; border-radius: 4px; }"
        f"QToolButton:checked {{ border: 2px solid {CHOSEN}; }}"
    )
    # A tool button would else want the width of all it says.
    card.setMinimumWidth(PICTURE.width() // 2)
    card.setFixedHeight(PICTURE.height() + lines * card.fontMetrics().lineSpacing())
    return card
