"""The question what a section is, in plain words and two small pictures.

Each picture shows a membrane in the tissue on the left, cut into sections, and on the right what the sections show of
it: a thin sample shows where it is at one depth, an average over the thickness shows it smeared.
"""

from __future__ import annotations

import math

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QVBoxLayout, QWidget

from napari_emsynth.plugin.widgets.notices import Sentences, remark
from napari_emsynth.plugin.widgets.picture_card import CHOSEN, PICTURE, picture_card

QUESTION = "Are your sections thin samples, or averages over their thickness?"
UNANSWERED = f"{QUESTION} Not answered for this layer: thin samples are assumed."
TITLES = {"point": "Thin samples\nSBEM, FIB-SEM:\na block face", "slab": "Averages\nssTEM, ATUM, binned:\na thick slab"}
EXPLAINED = {
    "point": "Acquired sections stay, voxel for voxel; new ones go between them.",
    "slab": "Each section is divided: every voxel is new, their averages over the thickness stay what was acquired.",
}
# Lines below a picture, one of them for the frame.
LINES = 4
SECTIONS = 4
# Of a section's pitch, what a thin sample shows.
THIN = 0.18
TISSUE, MEMBRANE, CUT = QColor(196, 196, 196), QColor(40, 40, 40), QColor(CHOSEN)
ASKED = "#e6c34a"


class SamplingQuestion(QWidget):
    """Speaks "point" or "slab".

    Signals:
        answered: the user chose one.
    """

    answered = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.question, self.explanation = Sentences(QUESTION), remark()
        self.cards = {name: picture_card(title, picture(name), LINES) for name, title in TITLES.items()}
        # A group of its own: an exclusive one would leave none chosen while another is hidden.
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(3)
        row = QHBoxLayout()
        row.setSpacing(4)
        for card in self.cards.values():
            self._group.addButton(card)
            row.addWidget(card)
        layout.addWidget(self.question)
        layout.addLayout(row)
        layout.addWidget(self.explanation)
        self._group.buttonClicked.connect(lambda _card: self._clicked())
        self.set_value("point")

    def value(self) -> str:
        """Return the chosen one."""
        return next(name for name, card in self.cards.items() if card.isChecked())

    def set_value(self, sampling: str) -> None:
        """Choose one; nothing is emitted."""
        self.cards[sampling].setChecked(True)
        self.explanation.setText(EXPLAINED[sampling])

    def set_known(self, known: bool) -> None:
        """Ask with emphasis while the user has not answered for the chosen layer."""
        self.question.setText(QUESTION if known else UNANSWERED)
        self.question.setStyleSheet("" if known else f"color: {ASKED};")

    def offer(self, samplings: tuple[str, ...]) -> None:
        """Let only these be chosen; another that was chosen gives way."""
        for name, card in self.cards.items():
            card.setEnabled(name in samplings)
            card.setToolTip(EXPLAINED[name] if name in samplings else "The chosen method cannot do this")
        if self.value() not in samplings:
            self.set_value(samplings[0])

    def _clicked(self) -> None:
        self.set_value(self.value())
        self.answered.emit()


def picture(sampling: str) -> QPixmap:
    """Return the picture of one way to section, at twice its size for sharp screens."""
    drawn = QPixmap(2 * PICTURE)
    drawn.setDevicePixelRatio(2.0)
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    gap = 12.0
    width, height = (PICTURE.width() - gap) / 2, float(PICTURE.height())
    block = QRectF(0, 0, width, height)
    _draw_tissue(painter, block)
    _draw_cuts(painter, block, sampling)
    painter.setPen(QPen(QColor(150, 150, 150), 1.5))
    middle = QPointF(width + gap / 2, height / 2)
    painter.drawPolyline(QPolygonF([middle + QPointF(-3, -4), middle + QPointF(3, 0), middle + QPointF(-3, 4)]))
    _draw_sections(painter, block.translated(width + gap, 0), sampling)
    painter.end()
    return drawn


def membrane(depth: float) -> float:
    """Return where a membrane runs, from 0 to 1 across, at a depth from 0 to 1."""
    return 0.5 + 0.33 * math.sin(1.6 * math.pi * (depth - 0.15))


def _draw_tissue(painter: QPainter, block: QRectF) -> None:
    painter.fillRect(block, TISSUE)
    path = [
        QPointF(block.left() + membrane(i / 40) * block.width(), block.top() + i / 40 * block.height())
        for i in range(41)
    ]
    painter.setPen(QPen(MEMBRANE, 3))
    painter.drawPolyline(QPolygonF(path))


def _draw_cuts(painter: QPainter, block: QRectF, sampling: str) -> None:
    """Show what of the block each section is."""
    for section in range(SECTIONS):
        first, last = _depths(section, sampling)
        band = QRectF(
            block.left(), block.top() + first * block.height(), block.width(), (last - first) * block.height()
        )
        tint = QColor(CUT)
        tint.setAlpha(210 if sampling == "point" else (130 if section % 2 else 40))
        painter.fillRect(band, tint)
        if sampling == "slab":
            painter.setPen(QPen(CUT, 1))
            painter.drawRect(band)


def _draw_sections(painter: QPainter, block: QRectF, sampling: str) -> None:
    """Show what each section shows: grey where it meets the membrane all along, paler where it does in part."""
    pitch = block.height() / SECTIONS
    columns = int(block.width())
    for section in range(SECTIONS):
        first, last = _depths(section, sampling)
        top = block.top() + section * pitch
        painter.fillRect(QRectF(block.left(), top + 1, block.width(), pitch - 2), TISSUE)
        for column in range(columns):
            met = share((column + 0.5) / columns, first, last)
            if met > 0:
                dark = QColor(MEMBRANE)
                dark.setAlphaF(min(1.0, met))
                painter.fillRect(QRectF(block.left() + column, top + 1, 1.0, pitch - 2), dark)


def _depths(section: int, sampling: str) -> tuple[float, float]:
    """Return what of the depth, 0 to 1, a section shows."""
    thin = THIN if sampling == "point" else 1.0
    middle = (section + 0.5) / SECTIONS
    return middle - thin / SECTIONS / 2, middle + thin / SECTIONS / 2


def share(across: float, first: float, last: float, *, half: float = 0.035) -> float:
    """Return the share of the depths from ``first`` to ``last`` at which the membrane is at ``across``."""
    steps = 24
    depths = [first + (i + 0.5) / steps * (last - first) for i in range(steps)]
    return sum(abs(membrane(depth) - across) <= half for depth in depths) / steps
