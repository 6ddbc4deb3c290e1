"""Damaged sections that were found, each with a box to tick."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.volume_task.settings import listed
from napari_emsynth.plugin.widgets.layer_checklist import is_on, state_of
from napari_emsynth.sections import spans

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Suspect

MOST_PX = 110
# Larger than any section: the text is held against the stack when it is run.
FAR = 10**6


class SuspectList(QListWidget):
    """Hidden while nothing was found.

    Signals:
        ticked: the user changed the boxes; the ticked sections as text.
    """

    ticked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.itemChanged.connect(lambda _item: self.ticked.emit(spans(self.sections())))
        self.show_suspects((), ())

    def show_suspects(self, suspects: Sequence[Suspect], on: Iterable[int]) -> None:
        """List these; nothing is emitted.

        Args:
            suspects: what was found.
            on: sections whose boxes are ticked.
        """
        ticked = set(on)
        self.blockSignals(True)
        self.clear()
        for suspect in suspects:
            item = QListWidgetItem(f"z {suspect.section}: {suspect.kind}")
            item.setToolTip(f"{suspect.detail}; score {suspect.score:.2f}")
            item.setData(Qt.ItemDataRole.UserRole, suspect.section)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(state_of(suspect.section in ticked))
            self.addItem(item)
        self.blockSignals(False)
        self.setFixedHeight(min(MOST_PX, self.sizeHintForRow(0) * self.count() + 8))
        self.setVisible(self.count() > 0)

    def sections(self) -> list[int]:
        """Return the ticked sections."""
        items = (self.item(row) for row in range(self.count()))
        return [item.data(Qt.ItemDataRole.UserRole) for item in items if is_on(item)]

    def follow(self, text: str) -> None:
        """Tick what a text lists, where it lists sections; nothing is emitted."""
        try:
            sections = set(listed(text, FAR, "damaged"))
        except InputError:
            return
        self.blockSignals(True)
        for row in range(self.count()):
            item = self.item(row)
            item.setCheckState(state_of(item.data(Qt.ItemDataRole.UserRole) in sections))
        self.blockSignals(False)
