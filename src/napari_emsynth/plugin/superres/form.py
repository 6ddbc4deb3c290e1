"""What super-resolution asks beside the method: how much, what is not to be looked at, where it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_emsynth.grid import Triple
from napari_emsynth.methods.superres.limits import FACTORS
from napari_emsynth.options import DETECTED
from napari_emsynth.plugin.superres.settings import SuperresSettings
from napari_emsynth.plugin.volume_task.damage_form import DamageForm, Rows
from napari_emsynth.plugin.volume_task.forecast import voxel_text
from napari_emsynth.plugin.widgets.buttons import combo
from napari_emsynth.plugin.widgets.notices import remark

MADE_UP = (
    "Every voxel is made up; only the mean over each acquired pixel is data. x16 draws 256 pixels for one: what is "
    "smaller than an acquired pixel is a guess. Do not measure it."
)


class SuperresForm(DamageForm):
    """A form that speaks one value, :class:`SuperresSettings`; it offers what the chosen method can do."""

    damage_tip = (
        f"Sections that are not looked at when their neighbours are drawn; {DETECTED!r} takes those that look blank, "
        "saturated, half missing or displaced"
    )
    ticked_tip = "Ticked sections are not looked at when their neighbours are drawn"

    _voxel_nm: Triple | None = None

    def set_voxel_nm(self, voxel_nm: Triple | None) -> None:
        """Say what a factor means for voxels of this size."""
        self._voxel_nm = voxel_nm
        self._show_voxel()

    def value(self) -> SuperresSettings:
        """Return what the form says."""
        said: SuperresSettings = super().value()
        return replace(said, factor=self.factor.currentData())

    def promise(self) -> str:
        """Return what must be known of any method."""
        return MADE_UP

    # -- inside ------------------------------------------------------------------------------------

    def _show_own(self, settings: SuperresSettings) -> None:  # noqa: ARG002 - the factor came with the method
        self._show_voxel()

    def _own_rows(self) -> Rows:
        self.factor, self.voxel_line = combo(), remark()
        for factor in FACTORS:
            self.factor.addItem(f"x{factor}", factor)
        self.factor.setToolTip("Rows and columns of the result for each of the layer")
        return (("Factor", self.factor), ("", self.voxel_line))

    def _connect(self) -> None:
        super()._connect()
        self.factor.activated.connect(lambda _i: self._factor_chosen())

    def _factor_chosen(self) -> None:
        self._busy = True
        # Weights are of one factor.
        self._offer_weights("")
        self._busy = False
        self._show_voxel()
        self._changed()

    def _bundled(self) -> tuple[str, ...]:
        """Return the bundled weights of the chosen factor."""
        return tuple(name for name in super()._bundled() if name.endswith(f"x{self.factor.currentData()}"))

    def _show_method(self, settings: Any) -> None:
        self.factor.setCurrentIndex(self.factor.findData(settings.factor))
        super()._show_method(settings)

    def _show_voxel(self) -> None:
        if self._voxel_nm is None:
            self.voxel_line.setText("")
        else:
            z, y, x = self._voxel_nm
            factor = self.factor.currentData()
            became = voxel_text((z, y / factor, x / factor))
            self.voxel_line.setText(f"{voxel_text(self._voxel_nm)} become {became}")
        self.voxel_line.setVisible(bool(self.voxel_line.text()))
