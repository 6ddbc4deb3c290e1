"""What upsampling asks beside the method: how much, what a section is, what is repaired first, where it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLineEdit

from napari_emsynth.grid import Triple
from napari_emsynth.plugin.align_settings import DETECTED
from napari_emsynth.plugin.upsample_settings import UpsampleSettings
from napari_emsynth.plugin.widgets.align_form import beside, small
from napari_emsynth.plugin.widgets.factor import FactorRow
from napari_emsynth.plugin.widgets.keep_box import KeepBox
from napari_emsynth.plugin.widgets.method_form import Switch
from napari_emsynth.plugin.widgets.notices import remark
from napari_emsynth.plugin.widgets.sampling import EXPLAINED, SamplingQuestion
from napari_emsynth.plugin.widgets.suspect_list import SuspectList
from napari_emsynth.plugin.widgets.volume_form import SELFCHECK, WITH_MASK, WITH_UNCERTAINTY, VolumeForm


class UpsampleForm(VolumeForm):
    """A form that speaks one value, :class:`UpsampleSettings`; it offers what the chosen method can do.

    Signals:
        sampling_answered: the user said what a section is.
        voxel_size_asked: the user wants to state the layer's voxel size.
        detection_asked: damaged sections are to be looked for.
    """

    sampling_answered = Signal()
    voxel_size_asked = Signal()
    detection_asked = Signal()
    switches_of: ClassVar[tuple[Switch, ...]] = (SELFCHECK, WITH_MASK, WITH_UNCERTAINTY)

    def set_voxel_nm(self, voxel_nm: Triple | None) -> None:
        """Say what a factor means for voxels of this size."""
        self.factor.set_voxel_nm(voxel_nm)

    def value(self) -> UpsampleSettings:
        """Return what the form says."""
        factor, isotropic = self.factor.value()
        keep, lazy = self.keep.value()
        return replace(
            super().value(),
            factor=factor,
            isotropic=isotropic,
            sampling=self.sampling.value(),
            damaged=self.damaged.text().strip(),
            keep=keep,
            lazy=lazy,
        )

    def set_value(self, settings: UpsampleSettings) -> None:
        """Show other settings; nothing is emitted."""
        super().set_value(settings)
        self._busy = True
        try:
            self.factor.set_value(settings.factor, settings.isotropic)
            self.keep.set_value(settings.keep, settings.lazy)
            if self.damaged.text().strip() != settings.damaged:
                self.damaged.setText(settings.damaged)
            self._offer(settings.sampling)
        finally:
            self._busy = False

    def promise(self) -> str:
        """Return what must be known; under slab sampling no voxel is kept by any method, as is said there."""
        return super().promise() if self.sampling.value() == "point" else ""

    # -- inside ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        super()._lay_out()
        self.factor, self.sampling, self.keep = FactorRow(), SamplingQuestion(), KeepBox()
        self.damaged, self.suspects = QLineEdit(), SuspectList()
        self.damaged.setPlaceholderText(f"none; {DETECTED}, or 3,40-42")
        self.damaged.setToolTip(
            f"Sections that are repaired before anything is made of them; {DETECTED!r} takes those that are "
            "damaged beyond doubt"
        )
        self.detect = small("detect", "Look for damaged sections now and list them")
        self.forecast = remark()
        # What can be offered depends on the method and its weights, which are asked first; the device is asked last.
        rows = (
            ("Factor", self.factor), ("", self.sampling), ("Damaged", beside(self.damaged, self.detect)),
            ("", self.suspects), ("Result", self.keep), ("", self.forecast),
        )  # fmt: skip
        for place, (label, field) in enumerate(rows, self.rows.getWidgetPosition(self.weights)[0] + 1):
            if label:
                self.rows.insertRow(place, label, field)
            else:
                self.rows.insertRow(place, field)

    def _connect(self) -> None:
        super()._connect()
        self.factor.changed.connect(self._changed)
        self.factor.voxel_size_asked.connect(self.voxel_size_asked)
        self.sampling.answered.connect(self._sampling_chosen)
        self.keep.changed.connect(self._changed)
        self.damaged.textChanged.connect(lambda _text: self._damaged_typed())
        self.detect.clicked.connect(lambda: self.detection_asked.emit())
        self.suspects.ticked.connect(self.damaged.setText)

    def _sampling_chosen(self) -> None:
        self._show_promise()
        self.sampling_answered.emit()
        self._changed()

    def _damaged_typed(self) -> None:
        self.suspects.follow(self.damaged.text())
        self._changed()

    def _show_method(self, settings: Any) -> None:
        self._offer(settings.sampling)
        super()._show_method(settings)

    def _offer(self, sampling: str) -> None:
        """Offer what the method can do; what it cannot gives way to the first thing that it can."""
        spec = self.spec()
        if spec is not None:
            self.factor.set_ready()
        self.factor.offer(spec.factors if spec is not None else ())
        if sampling in EXPLAINED:
            self.sampling.set_value(sampling)
        self.sampling.offer((spec.samplings if spec is not None else ()) or tuple(EXPLAINED))
        self._show_promise()
