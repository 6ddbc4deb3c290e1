"""What upsampling asks beside the method: how much, what a section is, what is repaired first, where it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal

from napari_emsynth.grid import Triple
from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.upsample.factor import FactorRow
from napari_emsynth.plugin.upsample.sampling import EXPLAINED, SamplingQuestion
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.damage_form import DamageForm, Rows
from napari_emsynth.plugin.widgets.look import LookChoice

SHARPENED = "with fine detail of the nearest acquired one; averages are divided with more contrast within each"


class UpsampleForm(DamageForm):
    """A form that speaks one value, :class:`UpsampleSettings`; it offers what the chosen method can do.

    Signals:
        sampling_answered: the user said what a section is.
        voxel_size_asked: the user wants to state the layer's voxel size.
    """

    sampling_answered = Signal()
    voxel_size_asked = Signal()
    damage_tip = (
        f"Sections that are repaired before anything is made of them; {DETECTED!r} takes those that are "
        "damaged beyond doubt"
    )
    ticked_tip = "Ticked sections are repaired from their neighbours first, and marked as made up"

    def set_voxel_nm(self, voxel_nm: Triple | None) -> None:
        """Say what a factor means for voxels of this size."""
        self.factor.set_voxel_nm(voxel_nm)

    def value(self) -> UpsampleSettings:
        """Return what the form says."""
        factor, isotropic = self.factor.value()
        said: UpsampleSettings = super().value()
        return replace(said, factor=factor, isotropic=isotropic, sampling=self.sampling.value(), look=self.look.value())

    def promise(self) -> str:
        """Return what must be known; under slab sampling no voxel is kept by any method, as is said there."""
        return super().promise() if self.sampling.value() == "point" else ""

    # -- inside ------------------------------------------------------------------------------------

    def _show_own(self, settings: UpsampleSettings) -> None:
        self.factor.set_value(settings.factor, settings.isotropic)
        self._offer(settings.sampling)
        self.look.set_value(settings.look)

    def _own_rows(self) -> Rows:
        self.factor, self.sampling, self.look = FactorRow(), SamplingQuestion(), LookChoice(SHARPENED)
        return (("Factor", self.factor), ("", self.sampling), ("", self.look))

    def _connect(self) -> None:
        super()._connect()
        self.factor.changed.connect(self._changed)
        self.factor.voxel_size_asked.connect(self.voxel_size_asked)
        self.sampling.answered.connect(self._sampling_chosen)
        self.look.chosen.connect(self._changed)

    def _sampling_chosen(self) -> None:
        self._show_promise()
        self.sampling_answered.emit()
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
