"""What forms share of tasks that ask which sections are damaged, and where the result goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_emsynth.plugin.align.form import beside, small
from napari_emsynth.plugin.volume_task.form import SELFCHECK, WITH_MASK, WITH_UNCERTAINTY, VolumeForm
from napari_emsynth.plugin.volume_task.keep_box import KeepBox
from napari_emsynth.plugin.volume_task.settings import DETECTED
from napari_emsynth.plugin.volume_task.suspect_list import SuspectList
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
        self.keep, self.damaged, self.suspects = KeepBox(), QLineEdit(), SuspectList()
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
