"""Run that becomes Cancel, a progress bar, and one line with what is going on."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_emsynth.plugin.jobs.queue import JobQueue

STEPS = 1000


class JobBar(QWidget):
    """Shows what a queue does for one dock.

    Args:
        queue: the viewer's.
        run: what the button says while nothing runs.
        owner: of the jobs it shows and cancels.

    Signals:
        run_asked: Run was pressed.
    """

    run_asked = Signal()

    def __init__(self, queue: JobQueue, run: str = "Run", owner: str = "") -> None:
        super().__init__()
        self._queue, self._run, self._owner = queue, run, owner
        self.button = QPushButton(run)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(8)
        self.line = QLabel(" ")
        self.line.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self.button, self.bar, self.line):
            layout.addWidget(widget)
        self.button.clicked.connect(self._pressed)
        queue.changed.connect(self.refresh)
        self.refresh()

    @property
    def is_running(self) -> bool:
        """True while the button cancels."""
        return bool(self._queue.visible_of(self._owner))

    def refresh(self) -> None:
        """Show the queue as it is."""
        jobs = self._queue.visible_of(self._owner)
        self.button.setText("Cancel" if jobs else self._run)
        if not jobs:
            self.bar.setRange(0, STEPS)
            self.bar.setValue(0)
            self.line.setText(" ")
            return
        done, total, _ = jobs[0].progress
        # A bar without a range moves to and fro: something goes on, nobody knows how long.
        counted = total > 1 or done > 0
        self.bar.setRange(0, STEPS if counted else 0)
        if counted:
            self.bar.setValue(STEPS * done // total)
        waiting = f" (+{len(jobs) - 1} waiting)" if len(jobs) > 1 else ""
        self.line.setText(jobs[0].describe() + waiting)

    def _pressed(self) -> None:
        if self.is_running:
            self._queue.cancel_all(owner=self._owner)
        else:
            self.run_asked.emit()
