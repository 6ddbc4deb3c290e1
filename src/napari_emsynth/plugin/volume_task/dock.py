"""What the docks of tasks on whole volumes share: choose, look, run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from qtpy.QtWidgets import QFileDialog, QLabel, QVBoxLayout

from napari_emsynth.plugin.export.dock import FORMATS
from napari_emsynth.plugin.volume_task.destination import MEMORY, Place, where
from napari_emsynth.plugin.volume_task.form import VolumeForm
from napari_emsynth.plugin.volume_task.looking_dock import LookingDock
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.widgets.buttons import HistoryButtons, button, rows
from napari_emsynth.plugin.widgets.job_bar import JobBar

GOOD, BAD = "#6ebe6e", "#e6963c"


class VolumeDock(LookingDock):
    """Choose a layer and a method, preview, run.

    Args:
        napari_viewer: filled in by napari.
        start: settings of the first dock in a viewer.
        form: made of settings.
        scores: the self-check's figures in words.

    Attributes:
        asks_where: a large result is not begun before the user said where it goes.
    """

    asks_where: ClassVar[bool] = False

    def __init__(
        self,
        napari_viewer: Any,
        start: VolumeSettings,
        form: Callable[[Any], VolumeForm],
        scores: Callable[[dict[str, Any]], str],
    ) -> None:
        self._scores = scores
        super().__init__(napari_viewer, start, form)

    # -- acting ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do the task, where the user wants the result."""
        self.notices.show_lines([], "")
        place = self.place()
        if place is not None:
            self.task.run(self.layer(), self.channel_index(), target=place.target)

    def place(self) -> Place | None:
        """Return where the result goes; None when it is refused, or the user was asked and thought better of it."""
        layer = self.layer()
        if not self.asks_where or layer is None or self.task.settings.lazy:
            return MEMORY
        if self.task.attempt(self.task.asked, layer, self.channel_index()) is None:
            return None
        forecast = self.task.forecast(layer, self.channel_index())
        return where(self, self.task.settings, forecast, layer.name)

    def export(self) -> None:
        """Ask where to, and write the newest result, else the chosen layer."""
        layer = self.task.newest() or self.layer()
        if layer is None:
            self.task.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
            return
        path, _ = QFileDialog.getSaveFileName(self, f"Export {layer.name}", f"{layer.name}.ome.tif", FORMATS)
        if path:
            # The dialog has asked about overwriting.
            self.session.export(layer, Path(path), overwrite=True)

    def copy_code(self) -> str | None:
        """Put the task as code on the clipboard."""
        return self.task.copy(self.layer(), self.channel_index())

    # -- following ---------------------------------------------------------------------------------

    def _recall(self) -> None:
        super()._recall()
        self._show_checked(self.task.last_outcome)

    def _show_checked(self, outcome: VolumeOutcome | None) -> None:
        check = None if outcome is None else outcome.selfcheck
        self.selfcheck.setVisible(check is not None)
        if check is not None:
            self.selfcheck.setText(self._scores(check))
            self.selfcheck.setStyleSheet(f"color: {GOOD if check['beats_floors'] else BAD};")

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        super()._lay_out()
        self.selfcheck = QLabel()
        self.selfcheck.setWordWrap(True)
        self.body.insertWidget(self.body.indexOf(self.notices), self.selfcheck)
        # What a task has more to show goes here.
        self.panels = QVBoxLayout()
        self.body.addLayout(self.panels)
        self.body.addStretch(1)
        self.job_bar = JobBar(self.session.queue, owner=self.owner)
        self.foot.addWidget(self.job_bar)
        self.history = HistoryButtons(self.session)
        self.foot.addWidget(self.history)
        self.copy = button("Copy as code", "Copy the task as Python and as one command line")
        self.save = button("Export...", "Write the result, its mask and its record to a file")
        self.foot.addLayout(rows((self.copy, self.save)))

    def _connect(self) -> None:
        super()._connect()
        self.notices.instead_asked.connect(self.task.use_instead)
        self.job_bar.run_asked.connect(self.run)
        self.copy.clicked.connect(lambda: self.copy_code())
        self.save.clicked.connect(lambda: self.export())
        self.task.checked.connect(self._show_checked)
