"""Small widgets as all docks have them: buttons, boxes and rows; and undo and redo that follow a session."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from napari_emsynth.plugin.viewer.session import Session


def button(text: str, tip: str) -> QPushButton:
    """Return a push button with a tooltip."""
    made = QPushButton(text)
    made.setToolTip(tip)
    return made


def small(text: str, tip: str) -> QPushButton:
    """Return a small button that goes beside a line."""
    made = button(text, tip)
    made.setFixedWidth(made.fontMetrics().horizontalAdvance(text) + 16)
    return made


def beside(line: QWidget, end: QWidget) -> QHBoxLayout:
    """Return a line with a small button at its end."""
    row = QHBoxLayout()
    row.setSpacing(3)
    row.addWidget(line, 1)
    row.addWidget(end)
    return row


def rows(*rows_of: tuple[QWidget, ...]) -> QVBoxLayout:
    """Return widgets in rows of equal width."""
    column = QVBoxLayout()
    column.setSpacing(3)
    for widgets in rows_of:
        row = QHBoxLayout()
        row.setSpacing(3)
        for widget in widgets:
            policy = widget.sizePolicy()
            policy.setHorizontalPolicy(policy.Policy.Ignored)
            widget.setSizePolicy(policy)
            row.addWidget(widget)
        column.addLayout(row)
    return column


def combo() -> QComboBox:
    """Return a combo box that does not push its dock wider."""
    box = QComboBox()
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return box


def spin(low: int, high: int, step: int, tip: str) -> QSpinBox:
    """Return a box for a whole number."""
    box = QSpinBox()
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setToolTip(tip)
    return box


def form_of(box: QWidget) -> QFormLayout:
    """Give a widget rows of labels and fields, close to each other."""
    form = QFormLayout(box)
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form


class HistoryButtons(QWidget):
    """Undo and Redo, which say what they would do."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.undo, self.redo = button("Undo", ""), button("Redo", "")
        layout = rows((self.undo, self.redo))
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self.undo.clicked.connect(lambda: session.undo())
        self.redo.clicked.connect(lambda: session.redo())
        session.results_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the history as it is."""
        history = self._session.history
        for made, steps, word in ((self.undo, history.done, "Undo"), (self.redo, history.undone, "Redo")):
            made.setEnabled(bool(steps))
            made.setToolTip(f"{word}: {steps[-1].title}" if steps else f"Nothing to {word.lower()}")
