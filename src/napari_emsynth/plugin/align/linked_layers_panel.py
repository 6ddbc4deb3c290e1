"""What follows an alignment: tick layers, move them, write them, keep the field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QMenu

from napari_emsynth.plugin.align.linked_layers import export_linked, followers, move_linked
from napari_emsynth.plugin.align.session import AlignTask
from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.volume_task.linked_layers import LinkedLayersPanel
from napari_emsynth.plugin.widgets.buttons import button, rows


class AlignedLayersPanel(LinkedLayersPanel):
    """Speaks the unique ids of the ticked layers.

    Args:
        task: the viewer's alignment.
        layer: gives the layer chosen in the dock.
        channel: gives its channel.
    """

    def __init__(self, task: AlignTask, layer: Callable[[], Any], channel: Callable[[], int | None]) -> None:
        move = button("Move ticked", "Move the ticked layers by the field, into new layers")
        write = button("Export aligned...", "Write the ticked layers through the field, all into one folder")
        super().__init__(task, followers, move, write)
        self._layer, self._channel = layer, channel
        self.list.setToolTip("Images, labels, points and shapes over the aligned stack")
        self.back = QCheckBox("Back: from aligned to as acquired")
        self.back.setToolTip("Through the inverse field, for what was drawn on the aligned stack")
        self.save = button("Save field...", "Write the displacement field, for here or for ITK, SOFIMA and OME-Zarr")
        self.load = button("Load field...", "Align the chosen layer by a saved field; one of a binned copy serves too")
        self.box.insertWidget(1, self.back)
        self.box.addLayout(rows((self.save, self.load)))
        self.save.clicked.connect(lambda: self.save_field())
        # A .zarr is a folder, which a dialog for files does not choose.
        menu = QMenu(self)
        menu.addAction("A .zarr folder...", lambda: self.load_field(folder=True))
        menu.addAction("A file...", lambda: self.load_field(folder=False))
        self.load.setMenu(menu)

    def apply_to_ticked(self) -> None:
        """Move the ticked layers."""
        move_linked(self._task, self._layer(), self.ticked(), back=self.back.isChecked())

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
        path, _ = QFileDialog.getSaveFileName(self, "Save the field", f"{name}_field.zarr", _filter())
        if path:
            self._task.save_field(layer, Path(path))

    def load_field(self, *, folder: bool) -> None:
        """Ask for a file, or a folder, and align the chosen layer by it."""
        title = "Load a field"
        path = (
            QFileDialog.getExistingDirectory(self, title)
            if folder
            else QFileDialog.getOpenFileName(self, title, "", _filter(folders=False))[0]
        )
        if path:
            self._task.load_field(self._layer(), Path(path), self._channel())


def _filter(*, folders: bool = True) -> str:
    """Return which names a dialog shows: those of every format, or of those that are no folder."""
    from napari_emsynth.io.fields import FORMATS

    shown = [form for form in FORMATS if folders or not form.folder]
    return f"Displacement field ({' '.join(f'*{form.suffix}' for form in shown)})"
