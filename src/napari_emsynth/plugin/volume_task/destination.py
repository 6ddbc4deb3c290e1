"""The questions before a large result: memory or a file, which file, and whether to go on where one stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QMessageBox, QSizePolicy, QWidget

from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.volume_task.forecast import Forecast, bytes_text
from napari_emsynth.plugin.volume_task.settings import Keep, VolumeSettings
from napari_emsynth.plugin.volume_task.target import Target

ENDING = ".ome.zarr"


@dataclass(frozen=True)
class Place:
    """Where a result goes: a file, or None for memory."""

    target: Target | None = None


MEMORY = Place()


def where(parent: QWidget, settings: VolumeSettings, forecast: Forecast | None, name: str) -> Place | None:
    """Return where a result goes; None when the user was asked and wants none of it.

    Args:
        parent: of the questions.
        settings: which may leave it to the size of the result.
        forecast: of the result; None where it is unknown, which a run will say more of.
        name: of the layer.
    """
    keep: str = settings.keep
    if keep == "auto":
        keep = ask_large(parent, forecast) if forecast is not None and forecast.is_large else "memory"
    if keep == "memory":
        return MEMORY
    path = ask_file(parent, f"{slug(name)}_{slug(settings.done)}{ENDING}") if keep == "file" else None
    if path is None:
        return None
    target = Target(path=path)
    if not target.is_begun:
        return Place(target)
    again = ask_resume(parent, path)
    return None if again is None else Place(Target(path=path, resume=again))


def ask_large(parent: QWidget, forecast: Forecast) -> str:
    """Ask where a large result goes: "file", "memory", or "" for nowhere."""
    free = "" if forecast.free is None else f" of {bytes_text(forecast.free)} that are free"
    box = QMessageBox(parent)
    box.setWindowTitle("A large result")
    box.setText(f"The result takes {bytes_text(forecast.bytes)}{free}. Where should it go?")
    box.setInformativeText("A Zarr file is written block by block and shown from there; memory stays free.")
    file = box.addButton("Zarr file...", QMessageBox.ButtonRole.AcceptRole)
    memory = box.addButton("Memory", QMessageBox.ButtonRole.AcceptRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.setDefaultButton(file)
    box.exec()
    chosen = box.clickedButton()
    return "file" if chosen is file else "memory" if chosen is memory else ""


def ask_file(parent: QWidget, name: str) -> Path | None:
    """Ask for a Zarr file; None when there is to be none."""
    path, _ = QFileDialog.getSaveFileName(parent, "Write the result to", name, f"OME-Zarr (*{ENDING})")
    if not path:
        return None
    return Path(path if path.endswith(".zarr") else f"{path}{ENDING}")


def ask_resume(parent: QWidget, path: Path) -> bool | None:
    """Ask whether to go on with an interrupted run; None for neither."""
    box = QMessageBox(parent)
    box.setWindowTitle("An interrupted run")
    box.setText(f"An unfinished {path.name} is there. Go on where it stopped?")
    on = box.addButton("Go on", QMessageBox.ButtonRole.AcceptRole)
    anew = box.addButton("Start again", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    chosen = box.clickedButton()
    return True if chosen is on else False if chosen is anew else None


LAZY = "lazy"
DESTINATIONS = {
    "auto": "in memory when small, else ask",
    "memory": "in memory",
    "file": "in a Zarr file (asks where)",
    LAZY: "lazy: computed when it is shown",
}
DESTINATION_TIP = (
    "In memory: quick to look at. In a Zarr file: written block by block and shown from there; after a cancel or a "
    "crash it goes on where it stopped. Lazy: the layer appears at once, each part is computed when it comes into view"
)


class DestinationBox(QComboBox):
    """Speaks where a result is kept, and whether it is lazy instead.

    Signals:
        changed: the user chose another.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(DESTINATION_TIP)
        for name, text in DESTINATIONS.items():
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
