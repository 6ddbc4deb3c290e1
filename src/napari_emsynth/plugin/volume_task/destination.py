"""The questions before a large result: memory or a file, which file, and whether to go on where one stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.volume_task.forecast import Forecast, bytes_text
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
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
    keep = settings.keep
    if keep == "auto":
        large = forecast is not None and forecast.is_large
        keep = ask_large(parent, forecast) if large else "memory"
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
