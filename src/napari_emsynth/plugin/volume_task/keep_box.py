"""Where a result goes: into memory, into a file, or nowhere until it is looked at."""

from __future__ import annotations

from typing import cast

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_emsynth.plugin.volume_task.settings import Keep

LAZY = "lazy"
WORDS = {
    "auto": "in memory when small, else ask",
    "memory": "in memory",
    "file": "in a Zarr file (asks where)",
    LAZY: "lazy: computed when it is shown",
}
TIP = (
    "In memory: quick to look at. In a Zarr file: written block by block and shown from there; after a cancel or a "
    "crash it goes on where it stopped. Lazy: the layer appears at once, each part is computed when it comes into view"
)


class KeepBox(QComboBox):
    """Speaks where a result is kept, and whether it is lazy instead.

    Signals:
        changed: the user chose another.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(TIP)
        for name, text in WORDS.items():
            self.addItem(text, name)
        self._keep: Keep = "auto"
        self.activated.connect(lambda _i: self.changed.emit())

    def value(self) -> tuple[Keep, bool]:
        """Return where it is kept (as it was, of a lazy one), and whether it is lazy."""
        chosen = self.currentData()
        return (self._keep, True) if chosen == LAZY else (cast("Keep", chosen), False)

    def set_value(self, keep: Keep, lazy: bool) -> None:
        """Choose; nothing is emitted."""
        self._keep = keep
        self.setCurrentIndex(self.findData(LAZY if lazy else keep))
