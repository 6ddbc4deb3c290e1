"""The table of an alignment's sections: how far each moved, how well it lies now, what could not be told.

Laws: every section and every failed pair is listed, however many there are; a figure that could not be measured is
shown as a dash and sorts below every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, inf
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QPlainTextEdit, QTableView, QVBoxLayout, QWidget

GOOD, BAD, PALE = QColor(110, 190, 110), QColor(230, 150, 60), QColor(154, 160, 168)
# Below this a confidence is worth a look; a correlation that falls by more than rounding is, too.
DOUBTFUL, WORSE = 0.5, 0.005
SORTED_BY = Qt.ItemDataRole.UserRole
NOTHING = "–"
FAILED_PX = 76


@dataclass(frozen=True)
class Column:
    """One figure of a section.

    Args:
        title: as narrow as can be.
        tip: what it means.
        width: px.
    """

    title: str
    tip: str
    width: int


COLUMNS = (
    Column("z", "section", 32),
    Column("shift", "how far the section as a whole was moved, px", 36),
    Column("max", "the longest displacement in it, px", 36),
    Column("CPC", "correlation with the section before it, as it was", 36),
    Column("after", "the same correlation, aligned", 36),
    Column("conf.", "how far its displacements can be trusted, 0 to 1", 36),
    Column("fail", "pairs with its neighbours that could not be registered", 26),
)


def figures(entry: dict[str, Any]) -> tuple[float | None, ...]:
    """Return what the columns show of one section's record, None where it could not be told."""
    shift = entry.get("shift_px")
    return (
        entry["section"],
        None if shift is None else hypot(*shift),
        entry.get("max_px"),
        entry.get("cpc_before"),
        entry.get("cpc_after"),
        entry.get("confidence"),
        len(entry.get("failed", ())),
    )


def shown(column: int, value: float | None) -> str:
    """Return a figure as text."""
    if value is None:
        return NOTHING
    if column in (0, 6):
        return str(int(value)) if value or column == 0 else ""
    return f"{value:.1f}" if column in (1, 2) and abs(value) >= 10 else f"{value:.2f}"


def explained(entry: dict[str, Any]) -> str:
    """Return everything that is known of a section, one line each."""
    dy, dx = entry.get("shift_px") or (0.0, 0.0)
    lines = [f"section {entry['section']}: {entry.get('treatment', '')}", f"shift {dy:+.2f}, {dx:+.2f} px (y, x)"]
    if entry.get("skipped"):
        lines.append(f"left out: {entry['skipped']}")
    return "\n".join([*lines, *failures(entry)])


def failures(entry: dict[str, Any]) -> list[str]:
    """Return the failed pairs of a section, one line each."""
    return [f"z {entry['section']}: {line}" for line in entry.get("failed", ())]


class SectionModel(QAbstractTableModel):
    """Records of sections as a table; nothing is made until it is on screen."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[dict[str, Any]] = []

    def set_entries(self, entries: Sequence[dict[str, Any]]) -> None:
        """Show other sections."""
        self.beginResetModel()
        self._entries = list(entries)
        self.endResetModel()

    def section(self, row: int) -> int:
        """Return the section of a row."""
        return int(self._entries[row]["section"])

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """One row a section."""
        return 0 if parent.isValid() else len(self._entries)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008 - Qt's name and default
        """One column a figure."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # noqa: N802 - Qt's name
        """Return title or explanation of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        return {Qt.ItemDataRole.DisplayRole: column.title, Qt.ItemDataRole.ToolTipRole: column.tip}.get(role)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Return what a cell shows, is sorted by, or explains."""
        entry, column = self._entries[index.row()], index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return explained(entry)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ForegroundRole, SORTED_BY):
            return None
        values = figures(entry)
        if role == SORTED_BY:
            return -inf if values[column] is None else float(values[column])
        return shown(column, values[column]) if role == Qt.ItemDataRole.DisplayRole else _colour(entry, values, column)


def _colour(entry: dict[str, Any], values: tuple[float | None, ...], column: int) -> QColor | None:
    """Return what calls for a look in orange, what got better in green, what was left out faintly."""
    before, after, confidence, failed = values[3:7]
    if column == 4 and before is not None and after is not None:
        return BAD if after < before - WORSE else GOOD if after > before + WORSE else None
    if column == 5 and confidence is not None and confidence < DOUBTFUL:
        return BAD
    if column == 6 and failed:
        return BAD
    return PALE if entry.get("skipped") else None


class SectionTable(QWidget):
    """The table, and below it the failed pairs.

    Signals:
        section_chosen: (section), a row was clicked.
    """

    section_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.model, self.sorted = SectionModel(), QSortFilterProxyModel()
        self.sorted.setSourceModel(self.model)
        self.sorted.setSortRole(SORTED_BY)
        self.view = _view(self.sorted)
        # Many pairs may have failed: they scroll.
        self.failed = QPlainTextEdit()
        self.failed.setReadOnly(True)
        self.failed.setStyleSheet(f"color: {BAD.name()};")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        layout.addWidget(self.failed)
        self.view.clicked.connect(self._clicked)
        self.set_entries(())

    def set_entries(self, entries: Sequence[dict[str, Any]]) -> None:
        """Show other sections."""
        self.model.set_entries(entries)
        lines = [line for entry in entries for line in failures(entry)]
        self.failed.setPlainText("\n".join([f"{len(lines)} failed pair(s):", *lines]) if lines else "")
        self.failed.setVisible(bool(lines))
        self.failed.setFixedHeight(min(FAILED_PX, 12 + self.fontMetrics().lineSpacing() * (1 + len(lines))))

    def show_section(self, section: int) -> None:
        """Choose the row of a section, where it is listed."""
        for row in range(self.model.rowCount()):
            if self.model.section(row) == section:
                self.view.selectRow(self.sorted.mapFromSource(self.model.index(row, 0)).row())
                return

    def _clicked(self, index: QModelIndex) -> None:
        self.section_chosen.emit(self.model.section(self.sorted.mapToSource(index).row()))


def _view(model: Any) -> QTableView:
    view = QTableView()
    view.setModel(model)
    view.setSortingEnabled(True)
    view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    view.verticalHeader().hide()
    view.verticalHeader().setDefaultSectionSize(20)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    view.setShowGrid(False)
    view.setMinimumHeight(120)
    view.setMaximumHeight(200)
    view.setStyleSheet("QTableView, QHeaderView { font-size: 8pt; } QHeaderView::section { padding: 1px; }")
    header = view.horizontalHeader()
    header.setMinimumSectionSize(24)
    header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    # The arrow that says what is sorted by takes the room of half a title.
    header.setSortIndicatorShown(False)
    for column, of in enumerate(COLUMNS):
        view.setColumnWidth(column, of.width)
    header.setStretchLastSection(True)
    return view
