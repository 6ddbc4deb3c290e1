"""The Export dock: write a layer, with its mask and record when it is a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget

from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.plugin.widgets.job_bar import JobBar
from napari_emsynth.plugin.widgets.layer_box import LayerBox
from napari_emsynth.plugin.widgets.layer_dock import FORMATS


class Export(Dock):
    """Choose a layer and a file; writing goes on in the background.

    Args:
        napari_viewer: filled in by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        install(napari_viewer)
        super().__init__(napari_viewer)
        self.layer_box = LayerBox(self.session)
        self.path = QLineEdit()
        self.path.setPlaceholderText("stack.ome.tif, stack.ome.zarr, or changes.patch.zarr")
        self.browse = QPushButton("...")
        self.browse.setMaximumWidth(32)
        self.overwrite = QCheckBox("Overwrite what is there")
        self.what = QLabel()
        self.what.setWordWrap(True)
        self.job_bar = JobBar(self.session.queue, "Export")
        self._lay_out()
        self.layer_box.layer_changed.connect(self._describe)
        self.session.results_changed.connect(self._describe)
        self.browse.clicked.connect(lambda: self._browse())
        self.job_bar.run_asked.connect(self.export)
        self._describe()

    def export(self) -> None:
        """Write the chosen layer."""
        layer, name = self.layer_box.layer(), self.path.text().strip()
        if layer is None:
            self.session.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
        elif not name:
            self.session.refuse("no file is named; needs a name that ends in .ome.tif, .ome.zarr or .patch.zarr")
        else:
            self.session.export(layer, Path(name).expanduser(), overwrite=self.overwrite.isChecked())

    def leave(self) -> None:
        """Let go of the viewer."""
        self.layer_box.release()

    def _describe(self) -> None:
        layer = self.layer_box.layer()
        shown = None if layer is None else self.session.shown_by(layer)
        parts = "the voxels" if shown is None else "the result, its synthetic mask and its record"
        self.what.setText("" if layer is None else f"Writes {parts}.")

    def _browse(self) -> None:
        layer = self.layer_box.layer()
        start = "" if layer is None else f"{slug(layer.name)}.ome.tif"
        path, _ = QFileDialog.getSaveFileName(self, "Export", start, FORMATS)
        if path:
            self.path.setText(path)
            # The dialog has asked about overwriting.
            self.overwrite.setChecked(Path(path).exists())

    def _lay_out(self) -> None:
        rows = QWidget()
        form = QFormLayout(rows)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Layer", self.layer_box)
        line = QHBoxLayout()
        line.addWidget(self.path)
        line.addWidget(self.browse)
        form.addRow("File", line)
        form.addRow(self.overwrite)
        self.body.addWidget(rows)
        self.body.addWidget(self.what)
        self.body.addStretch(1)
        self.foot.addWidget(self.job_bar)
