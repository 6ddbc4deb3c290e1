"""The table of marked sections: what is missing or damaged, why, and how well it was repaired."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QTableWidget, QTableWidgetItem

from napari_emsynth.plugin.restore.marks import Mark, Marks, Treatment

COLUMNS = ("z", "Treatment", "Self-check")
WORDS: dict[Treatment, str] = {"replace": "damaged", "insert": "missing", "region": "damaged part"}
MEANING = {
    "replace": "damaged: replace the whole section",
    "insert": "missing: insert a new section before this one",
    "region": "damaged part: replace the painted pixels only",
}
BASELINES = ("nearest", "linear", "blurred_linear", "fitted")
GOOD, BAD = QColor(110, 190, 110), QColor(230, 150, 60)


def score_text(mark: Mark) -> str:
    """Return the self-check in a few characters, or why the section is marked while there is none."""
    if mark.score is None:
        return mark.note or mark.origin
    best = max(mark.score[name] for name in BASELINES if mark.score.get(name) is not None)
    return f"{mark.score['psnr']:.1f} dB ({mark.score['psnr'] - best:+.1f})"


def score_tip(mark: Mark) -> str:
    """Return everything that is known of a section, one line each."""
    lines = [MEANING[mark.treatment], f"marked {mark.origin}" if mark.origin else "", mark.note]
    if mark.score is not None:
        names = ("psnr", *BASELINES)
        figures = [f"{n.replace('_', ' ')} {mark.score[n]:.2f} dB" for n in names if mark.score.get(n) is not None]
        lines.append(f"same repair on {mark.score.get('n', 0)} intact neighbour(s): {', '.join(figures)}")
    return "\n".join(line for line in lines if line)


class MarksTable(QTableWidget):
    """Shows marks; every change by the user is handed on and comes back as new marks.

    Signals:
        treatment_chosen: (row, treatment).
        section_chosen: (section), a row was clicked.
    """

    treatment_chosen = Signal(int, str)
    section_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(24)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setMinimumHeight(110)
        self.setMaximumHeight(190)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        self.setColumnWidth(0, 40)
        self.setColumnWidth(1, 104)
        self.cellClicked.connect(self._clicked)
        self._marks: Marks = ()

    def set_marks(self, marks: Marks) -> None:
        """Show these marks."""
        self._marks = marks
        self.setRowCount(len(marks))
        for row, mark in enumerate(marks):
            self._fill(row, mark)

    def chosen_rows(self) -> list[int]:
        """Return the rows the user selected."""
        return sorted({index.row() for index in self.selectedIndexes()})

    def _fill(self, row: int, mark: Mark) -> None:
        number = QTableWidgetItem(str(mark.section))
        number.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
        score = QTableWidgetItem(score_text(mark))
        if mark.score is not None:
            score.setForeground(GOOD if mark.score["beats_floors"] else BAD)
        for item in (number, score):
            item.setToolTip(score_tip(mark))
        self.setItem(row, 0, number)
        self.setCellWidget(row, 1, self._treatment_box(row, mark))
        self.setItem(row, 2, score)

    def _treatment_box(self, row: int, mark: Mark) -> QComboBox:
        box = QComboBox()
        offered: list[Treatment] = ["replace", "insert"]
        if mark.treatment == "region":
            offered.append("region")
        for treatment in offered:
            box.addItem(WORDS[treatment], treatment)
            box.setItemData(box.count() - 1, MEANING[treatment], Qt.ItemDataRole.ToolTipRole)
        box.setCurrentIndex(offered.index(mark.treatment))
        box.setToolTip(score_tip(mark))
        box.activated.connect(lambda _i, row=row, box=box: self.treatment_chosen.emit(row, box.currentData()))
        return box

    def _clicked(self, row: int, _column: int) -> None:
        if row < len(self._marks):
            self.section_chosen.emit(self._marks[row].section)

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Scroll the table, not the dock around it."""
        super().wheelEvent(event)
        event.accept()
