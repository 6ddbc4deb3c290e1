"""What forms share of tasks that ask which sections are damaged, and where the result goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_emsynth.errors import InputError
from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.widgets.layer_checklist import is_on, state_of
from napari_emsynth.sections import check_sections, spans

if TYPE_CHECKING:
    from napari_emsynth.trust.detect import Suspect

from dataclasses import replace
from typing import Any, ClassVar

from qtpy.QtWidgets import QLineEdit, QWidget

from napari_emsynth.plugin.volume_task.destination import DestinationBox
from napari_emsynth.plugin.volume_task.form import SELFCHECK, WITH_MASK, WITH_UNCERTAINTY, VolumeForm
from napari_emsynth.plugin.widgets.buttons import beside, small
from napari_emsynth.plugin.widgets.method_form import Switch
from napari_emsynth.plugin.widgets.notices import remark

Rows = Sequence[tuple[str, QWidget]]


class DamageForm(VolumeForm):
    """A form that speaks one value, settings with a field ``damaged``.

    Signals:
        detection_asked: damaged sections are to be looked for.

    Attributes:
        damage_tip: what is done about damaged sections.
        ticked_tip: what is done about ticked ones.
    """

    detection_asked = Signal()
    switches_of: ClassVar[tuple[Switch, ...]] = (SELFCHECK, WITH_MASK, WITH_UNCERTAINTY)
    damage_tip: ClassVar[str]
    ticked_tip: ClassVar[str]

    def value(self) -> Any:
        """Return what the form says."""
        keep, lazy = self.keep.value()
        return replace(super().value(), damaged=self.damaged.text().strip(), keep=keep, lazy=lazy)

    def set_value(self, settings: Any) -> None:
        """Show other settings; nothing is emitted."""
        super().set_value(settings)
        self._busy = True
        try:
            self.keep.set_value(settings.keep, settings.lazy)
            if self.damaged.text().strip() != settings.damaged:
                self.damaged.setText(settings.damaged)
            self._show_own(settings)
        finally:
            self._busy = False

    # -- inside ------------------------------------------------------------------------------------

    def _show_own(self, settings: Any) -> None:
        """Show what this task alone asks."""
        raise NotImplementedError

    def _own_rows(self) -> Rows:
        """Return what this task alone asks, labelled or not."""
        raise NotImplementedError

    def _lay_out(self) -> None:
        super()._lay_out()
        self.keep, self.damaged, self.suspects = DestinationBox(), QLineEdit(), SuspectList()
        self.damaged.setPlaceholderText(f"none; {DETECTED}, or 3,40-42")
        self.damaged.setToolTip(self.damage_tip)
        self.suspects.setToolTip(self.ticked_tip)
        self.detect = small("detect", "Look for damaged sections now and list them")
        self.forecast = remark()
        # What can be offered depends on the method and its weights, which are asked first; the device is asked last.
        rows = (
            *self._own_rows(), ("Damaged", beside(self.damaged, self.detect)), ("", self.suspects),
            ("Result", self.keep), ("", self.forecast),
        )  # fmt: skip
        for place, (label, field) in enumerate(rows, self.rows.getWidgetPosition(self.weights)[0] + 1):
            if label:
                self.rows.insertRow(place, label, field)
            else:
                self.rows.insertRow(place, field)

    def _connect(self) -> None:
        super()._connect()
        self.keep.changed.connect(self._changed)
        self.damaged.textChanged.connect(lambda _text: self._damaged_typed())
        self.detect.clicked.connect(lambda: self.detection_asked.emit())
        self.suspects.ticked.connect(self.damaged.setText)

    def _damaged_typed(self) -> None:
        self.suspects.follow(self.damaged.text())
        self._changed()


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
            sections = set(check_sections(text, FAR, "damaged"))
        except InputError:
            return
        self.blockSignals(True)
        for row in range(self.count()):
            item = self.item(row)
            item.setCheckState(state_of(item.data(Qt.ItemDataRole.UserRole) in sections))
        self.blockSignals(False)
