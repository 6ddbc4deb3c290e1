"""What docks share that make something of one layer: choose it, compare, undo, run, copy as code, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog

from napari_emsynth.plugin.widgets.blink import BlinkKey
from napari_emsynth.plugin.widgets.buttons import HistoryButtons, button, rows
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.plugin.widgets.job_bar import JobBar
from napari_emsynth.plugin.widgets.layer_box import LayerRows
from napari_emsynth.plugin.widgets.notices import Notices

FORMATS = "OME-TIFF (*.ome.tif);;OME-Zarr (*.ome.zarr);;Only what changed (*.patch.zarr)"


class LayerDock(Dock):
    """Choose a layer, run, compare.

    Args:
        viewer: raw or proxied.
        does: what the dock makes, for its button that copies it as code.
    """

    def __init__(self, viewer: Any, does: str) -> None:
        super().__init__(viewer)
        session = self.session
        self.top = LayerRows(session)
        self.layer_box, self.channel = self.top.layer_box, self.top.channel
        self.layer, self.channel_index = self.top.layer, self.top.channel_index
        self.notices, self.blink = Notices(), BlinkKey(session)
        self.job_bar = JobBar(session.queue, owner=self.owner)
        self.history = HistoryButtons(session)
        self.compare = button(f"Compare ({session.blink_key})", "Hold the button, or the key, to see the original")
        self.copy = button("Copy as code", f"Copy the {does} as Python and as one command line")
        self.save = button("Export...", "Write the result, its mask and its record to a file")

    def run(self) -> None:
        """Do what the dock is for."""
        raise NotImplementedError

    def copy_code(self) -> str | None:
        """Put what would be done on the clipboard, as code."""
        raise NotImplementedError

    def newest(self) -> Any | None:
        """Return the layer of the newest result there is."""
        raise NotImplementedError

    def export(self) -> None:
        """Ask where to, and write the newest result, else the chosen layer."""
        layer = self.newest() or self.layer()
        if layer is None:
            self.session.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
            return
        path, _ = QFileDialog.getSaveFileName(self, f"Export {layer.name}", f"{layer.name}.ome.tif", FORMATS)
        if path:
            # The dialog has asked about overwriting.
            self.session.export(layer, Path(path), overwrite=True)

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take the blink key."""
        self.blink.bind()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Give the blink key back."""
        self.blink.release()
        if not self.session.is_closed:
            self.session.compare(False)
        super().hideEvent(event)

    def leave(self) -> None:
        """Let go of the viewer."""
        self.blink.release()
        self.top.release()

    def _layer_changed(self) -> None:
        """Another layer was chosen."""
        raise NotImplementedError

    def _lay_out_foot(self) -> None:
        """Put what must always be in reach at the bottom."""
        for widget in (self.job_bar, self.history):
            self.foot.addWidget(widget)
        self.foot.addLayout(rows((self.copy, self.save)))

    def _connect(self) -> None:
        session = self.session
        self.top.layer_changed.connect(self._layer_changed)
        self.compare.pressed.connect(lambda: session.compare(True))
        self.compare.released.connect(lambda: session.compare(False))
        self.job_bar.run_asked.connect(self.run)
        self.copy.clicked.connect(lambda: self.copy_code())
        self.save.clicked.connect(lambda: self.export())
