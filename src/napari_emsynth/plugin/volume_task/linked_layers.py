"""Other layers that follow a task's result: ticked in a list, made anew in the viewer, or written to files.

Laws: a layer that cannot follow is refused by name, before any work; one step of history takes all new layers back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import find_layer
from napari_emsynth.plugin.layers.results import add_each
from napari_emsynth.plugin.volume_task.session import VolumeTask
from napari_emsynth.plugin.widgets.buttons import combo, rows
from napari_emsynth.plugin.widgets.layer_checklist import LayerChecklist

SUFFIXES = (".ome.tif", ".ome.zarr")
Work = Callable[[QueuedJob], Any]


def ticked_layers(task: VolumeTask, layer_ids: Sequence[Any], otherwise: str) -> list[Any]:
    """Return the layers with these unique ids that are in the viewer.

    Raises:
        InputError: none is; ``otherwise`` says what to do.
    """
    layers = [found for i in layer_ids if (found := find_layer(task.session.viewer, i)) is not None]
    if not layers:
        raise InputError(otherwise)
    return layers


def add_linked(
    task: VolumeTask, title: str, step: str, prepare: Callable[[], tuple[Work, list[Any]]]
) -> QueuedJob | None:
    """Make layers in the background and add them; None when that is refused.

    Args:
        task: whose result they follow.
        title: of the job.
        step: of the history; its ``{}`` becomes the number of layers.
        prepare: returns the work, which gives new layers, and the unique ids of what each is made from.
    """
    session = task.session

    def queued() -> QueuedJob:
        work, sources = prepare()

        def show(made: list[Any]) -> None:
            session.end_comparing()
            session.is_showing = True
            pairs = list(zip(made, sources, strict=True))
            session.history.add(add_each(session.viewer, step.format(len(made)), pairs, task.all_shown))
            session.results_changed.emit()

        return QueuedJob(title, work, on_done=show, on_failed=task.refuse, owner=task.name)

    return task.submit(queued)


def write_linked(
    task: VolumeTask, title: str, written: str, folder: Path, prepare: Callable[[], Work]
) -> QueuedJob | None:
    """Write layers in the background; None when that is refused.

    Args:
        task: whose result they follow.
        title: of the job.
        written: what the user is told was written; its ``{}`` becomes the number of files.
        folder: where to.
        prepare: returns the work, which gives the paths.
    """

    def done(paths: list[Path]) -> None:
        notify.info(f"{written.format(len(paths))} are written to {folder}")

    def queued() -> QueuedJob:
        return QueuedJob(title, prepare(), on_done=done, on_failed=task.refuse, owner=task.name)

    return task.submit(queued)


class LinkedLayersPanel(QWidget):
    """Speaks the unique ids of the ticked layers, which its task remembers.

    Args:
        task: the viewer's; it has ``ticked``.
        offered: the viewer's layers that are listed.
        apply: makes the ticked layers anew in the viewer.
        write: the button that writes them.
    """

    def __init__(self, task: Any, offered: Callable[[Any], list[Any]], apply: QPushButton, write: QPushButton) -> None:
        super().__init__()
        self._task = task
        self.list = LayerChecklist(task.session.viewer, offered, task.ticked)
        self.ticked, self.tick, self.release = self.list.ticked, self.list.tick, self.list.release
        self.apply, self.write = apply, write
        self.format = combo()
        self.format.addItems(SUFFIXES)
        self.format.setToolTip("What images and labels are written as; points and shapes become .csv")
        self.overwrite = QCheckBox("Overwrite")
        self.overwrite.setToolTip("Replace files of the same names")
        self.box = QVBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(3)
        self.box.addWidget(self.list)
        self.box.addLayout(rows((apply, write), (self.format, self.overwrite)))
        self.list.ticks_changed.connect(self._ticks_changed)
        apply.clicked.connect(lambda: self.apply_to_ticked())
        write.clicked.connect(lambda: self.export_ticked())

    def apply_to_ticked(self) -> None:
        """Make the ticked layers anew, as the result was made."""
        raise NotImplementedError

    def export_to(self, folder: Path) -> None:
        """Write the ticked layers, as the result was made, into a folder."""
        raise NotImplementedError

    def export_ticked(self) -> None:
        """Ask for a folder, and write the ticked layers there."""
        folder = QFileDialog.getExistingDirectory(self, "Write the ticked layers into")
        if folder:
            self.export_to(Path(folder))

    def _ticks_changed(self) -> None:
        self._task.ticked = self.ticked()
