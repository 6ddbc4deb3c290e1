"""Labels that go along with an upsampled volume: tick layers, take them along, write them."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QCheckBox, QFileDialog, QVBoxLayout, QWidget

from napari_emsynth.plugin.align.linked_layers_panel import SUFFIXES
from napari_emsynth.plugin.upsample.linked_layers import export_linked, labels_layers, upsample_linked
from napari_emsynth.plugin.upsample.session import UpsampleTask
from napari_emsynth.plugin.widgets.buttons import button, combo, rows
from napari_emsynth.plugin.widgets.layer_checklist import LayerChecklist
from napari_emsynth.plugin.widgets.notices import remark


class LabelsPanel(QWidget):
    """Speaks the unique ids of the ticked layers.

    Args:
        task: the viewer's upsampling.
    """

    def __init__(self, task: UpsampleTask) -> None:
        super().__init__()
        self._task = task
        self.list = LayerChecklist(task.session.viewer, labels_layers, task.ticked)
        self.list.setToolTip("Labels on the stack as it was acquired")
        self.line = remark()
        self.line.setText(
            "Shapes run on between sections; ids stay. Points and shapes lie right as they are."
        )
        self.take = button(
            "Take along", "Upsample the ticked labels as the newest result was, into new layers"
        )
        self.write = button("Export...", "Write the ticked labels, upsampled, into one folder")
        self.format = combo()
        self.format.addItems(SUFFIXES)
        self.overwrite = QCheckBox("Overwrite")
        self.overwrite.setToolTip("Replace files of the same names")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.list)
        layout.addWidget(self.line)
        layout.addLayout(rows((self.take, self.write), (self.format, self.overwrite)))
        self.list.ticks_changed.connect(self._ticks_changed)
        self.take.clicked.connect(lambda: upsample_linked(task, self.list.ticked()))
        self.write.clicked.connect(lambda: self.export_ticked())

    def export_ticked(self) -> None:
        """Ask for a folder, and write the ticked labels there."""
        folder = QFileDialog.getExistingDirectory(self, "Export upsampled labels into")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path) -> None:
        """Write the ticked labels, upsampled, into a folder."""
        export_linked(
            self._task, self.list.ticked(), folder, self.format.currentText(),
            overwrite=self.overwrite.isChecked(),
        )  # fmt: skip

    def release(self) -> None:
        """Stop following the viewer."""
        self.list.release()

    def _ticks_changed(self) -> None:
        self._task.ticked = self.list.ticked()
