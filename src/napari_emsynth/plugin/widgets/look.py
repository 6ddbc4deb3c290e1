"""The question how a made-up section shall look, with a picture of both answers.

The pictures show the same section of the bundled sample, synthesised; the preview shows the chosen look on the
user's own.
"""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QVBoxLayout, QWidget

from napari_emsynth.options import LookName
from napari_emsynth.plugin.widgets.notices import remark
from napari_emsynth.plugin.widgets.picture_card import picture_card

TITLES: dict[LookName, str] = {"accurate": "Accurate\nleast error, soft", "natural": "Natural\nas sharp as tissue"}
EXPLAINED: dict[LookName, str] = {
    "accurate": "The mean of what may have been there: nearest to the truth, and softer than acquired sections.",
    "natural": "The same, as sharp as this volume's sections, {}. The error estimate stays that of the mean.",
}
PICTURES = Path(__file__).parents[1] / "pictures"
LINES = 3


class LookChoice(QWidget):
    """Speaks "accurate" or "natural".

    Args:
        by: what makes sections sharp, after a comma.

    Signals:
        chosen: the user chose one.
    """

    chosen = Signal()

    def __init__(self, by: str) -> None:
        super().__init__()
        self._explained = {name: text.format(by) for name, text in EXPLAINED.items()}
        self.explanation = remark()
        self.cards = {
            name: picture_card(title, QPixmap(str(PICTURES / f"look-{name}.png")), LINES)
            for name, title in TITLES.items()
        }
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(3)
        row = QHBoxLayout()
        row.setSpacing(4)
        for name, card in self.cards.items():
            card.setToolTip(self._explained[name])
            self._group.addButton(card)
            row.addWidget(card)
        layout.addLayout(row)
        layout.addWidget(self.explanation)
        self._group.buttonClicked.connect(lambda _card: self._clicked())
        self.set_value("accurate")

    def value(self) -> LookName:
        """Return the chosen one."""
        return next(name for name, card in self.cards.items() if card.isChecked())

    def set_value(self, look: LookName) -> None:
        """Choose one; nothing is emitted."""
        self.cards[look].setChecked(True)
        self.explanation.setText(self._explained[look])

    def _clicked(self) -> None:
        self.set_value(self.value())
        self.chosen.emit()
