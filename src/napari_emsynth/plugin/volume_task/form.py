"""What the forms of tasks on whole volumes share."""

from __future__ import annotations

from typing import ClassVar

from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.widgets.method_form import MethodForm, Switch
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.plugin.widgets.notices import remark

SELFCHECK = Switch("selfcheck", "Self-check on this volume")
LAZY = Switch(
    "lazy",
    "Lazy: compute what is shown",
    tip="The result appears at once; each new part of it is computed when it comes into view",
)
WITH_MASK = Switch("with_mask", "Add the synthetic mask")
WITH_UNCERTAINTY = Switch("with_uncertainty", "Add the error estimate")
REDRAWS = "Redraws acquired voxels too: every voxel of the result is made up."


class VolumeForm(MethodForm):
    """A form that speaks one value, a :class:`VolumeSettings`.

    Attributes:
        switches_of: check boxes among the advanced settings.
    """

    switches_of: ClassVar[tuple[Switch, ...]] = (SELFCHECK, LAZY, WITH_MASK)

    def __init__(self, settings: VolumeSettings) -> None:
        super().__init__(settings, settings.task, self.switches_of)

    def set_voxel_nm(self, voxel_nm: tuple[float, float, float] | None) -> None:
        """Take the layer's voxel size, None when it is unknown; a form that needs none does nothing."""

    def promise(self) -> str:
        """Return what must be known of the chosen method before it runs."""
        spec = self.spec()
        return "" if spec is None or spec.keeps_acquired else REDRAWS

    def release(self) -> None:
        """Let go of the viewer, where the form follows it."""

    def _lay_out(self) -> None:
        super()._lay_out()
        self.promise_line = remark()
        self.rows.insertRow(1, self.promise_line)

    def _show_method(self, settings: MethodSettings) -> None:
        super()._show_method(settings)
        self._show_promise()

    def _show_promise(self) -> None:
        text = self.promise()
        self.promise_line.setText(text)
        self.rows.setRowVisible(self.promise_line, bool(text))
