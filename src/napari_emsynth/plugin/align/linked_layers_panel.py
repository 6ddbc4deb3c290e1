"""What goes along with an alignment: tick layers, move them, write them, keep the field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QMenu, QVBoxLayout, QWidget

from napari_emsynth.plugin.align.linked_layers import export_linked, followers, move_linked
from napari_emsynth.plugin.align.session import AlignTask
from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.widgets.buttons import button, combo, rows
from napari_emsynth.plugin.widgets.layer_checklist import LayerChecklist

SUFFIXES = (".ome.tif", ".ome.zarr")
FIELDS = "Displacement field (*.zarr *.npy)"


class LinkedLayersPanel(QWidget):
    """Speaks the unique ids of the ticked layers.

    Args:
        task: the viewer's alignment.
        layer: gives the layer chosen in the dock.
        channel: gives its channel.
    """

    def __init__(self, task: AlignTask, layer: Callable[[], Any], channel: Callable[[], int | None]) -> None:
        super().__init__()
        self._task, self._layer, self._channel = task, layer, channel
        self.list = LayerChecklist(task.session.viewer, followers, task.ticked)
        self.list.setToolTip("Images, labels, points and shapes over the aligned stack")
        self.back = QCheckBox("Back: from aligned to as acquired")
        self.back.setToolTip("Through the inverse field, for what was drawn on the aligned stack")
        self.move = button("Move along", "Move the ticked layers by the field, into new layers")
        self.write = button(
            "Export aligned...", "Write the ticked layers through the field, all into one folder"
        )
        self.format = combo()
        self.format.addItems(SUFFIXES)
        self.format.setToolTip("What images and labels are written as; points and shapes become .csv")
        self.overwrite = QCheckBox("Overwrite")
        self.overwrite.setToolTip("Replace files of the same names")
        self.save = button(
            "Save field...", "Write the displacement field: .zarr with axes and units, or plain .npy"
        )
        self.load = button(
            "Load field...", "Align the chosen layer by a saved field; one of a binned copy serves too"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.list)
        layout.addWidget(self.back)
        layout.addLayout(rows((self.move, self.write), (self.format, self.overwrite), (self.save, self.load)))
        self.move.clicked.connect(lambda: self.move_ticked())
        self.write.clicked.connect(lambda: self.export_ticked())
        self.save.clicked.connect(lambda: self.save_field())
        # A .zarr is a folder, which a dialog for files does not choose.
        menu = QMenu(self)
        menu.addAction("A .zarr folder...").triggered.connect(lambda: self.load_field(folder=True))
        menu.addAction("A .npy file...").triggered.connect(lambda: self.load_field(folder=False))
        self.load.setMenu(menu)
        self.list.ticks_changed.connect(self._ticks_changed)

    def ticked(self) -> list[Any]:
        """Return the ids of the ticked layers, in the order of the list."""
        return self.list.ticked()

    def tick(self, layer_ids: list[Any]) -> None:
        """Tick these layers and no others."""
        self.list.tick(layer_ids)

    def move_ticked(self) -> None:
        """Move the ticked layers."""
        move_linked(self._task, self._layer(), self.ticked(), back=self.back.isChecked())

    def export_ticked(self) -> None:
        """Ask for a folder, and write the ticked layers there."""
        folder = QFileDialog.getExistingDirectory(self, "Export aligned layers into")
        if folder:
            self.export_to(Path(folder))

    def export_to(self, folder: Path) -> None:
        """Write the ticked layers, aligned, into a folder."""
        export_linked(
            self._task, self._layer(), self.ticked(), folder, self.format.currentText(),
            overwrite=self.overwrite.isChecked(),
        )  # fmt: skip

    def save_field(self) -> None:
        """Ask where to, and write the field in use."""
        layer = self._layer()
        name = "stack" if layer is None else slug(layer.name)
        path, _ = QFileDialog.getSaveFileName(self, "Save the field", f"{name}_field.zarr", FIELDS)
        if path:
            self._task.save_field(layer, Path(path))

    def load_field(self, *, folder: bool) -> None:
        """Ask for a file, or a folder, and align the chosen layer by it."""
        title = "Load a field"
        path = (
            QFileDialog.getExistingDirectory(self, title)
            if folder
            else QFileDialog.getOpenFileName(self, title, "", "Displacement field (*.npy)")[0]
        )
        if path:
            self._task.load_field(self._layer(), Path(path), self._channel())

    def release(self) -> None:
        """Stop following the viewer."""
        self.list.release()

    def _ticks_changed(self) -> None:
        self._task.ticked = self.ticked()
