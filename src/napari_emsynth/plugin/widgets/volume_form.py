"""The forms of tasks on whole volumes: what all share, and what upsampling asks beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QLabel

from napari_emsynth.plugin.method_settings import MethodSettings
from napari_emsynth.plugin.volume_settings import (
    HIGHEST,
    LOWEST,
    UpsampleSettings,
    VolumeSettings,
)
from napari_emsynth.plugin.widgets.method_form import MethodForm, Switch, choose, combo

SELFCHECK = Switch("selfcheck", "Self-check on this volume")
LAZY = Switch(
    "lazy",
    "Lazy: compute what is shown",
    tip="The result appears at once; each new part of it is computed when it comes into view",
)
WITH_MASK = Switch("with_mask", "Add the synthetic mask")
# Voxels whose edges differ by less than this are called cubes.
CUBIC = 0.15
REDRAWS = "Redraws acquired voxels too: every voxel of the result is made up."

SAMPLINGS = {"point": "a thin plane", "slab": "a thick slab"}
EXPLAINED = {
    "point": "It shows the tissue at one depth (SBEM, FIB-SEM). Sections stay where they are, new ones go "
    "between them.",
    "slab": "It averages the tissue over its whole thickness (ssTEM, binned FIB-SEM). Each is divided; "
    "the outer faces stay, every voxel is new.",
}


class VolumeForm(MethodForm):
    """A form that speaks one value, a :class:`VolumeSettings`."""

    def __init__(self, settings: VolumeSettings) -> None:
        super().__init__(settings, settings.task, (SELFCHECK, LAZY, WITH_MASK))

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


class UpsampleForm(VolumeForm):
    """A form that speaks one value, :class:`UpsampleSettings`; it offers what the chosen method can do."""

    def __init__(self, settings: UpsampleSettings) -> None:
        self._voxel_nm: tuple[float, float, float] | None = None
        super().__init__(settings)

    def set_voxel_nm(self, voxel_nm: tuple[float, float, float] | None) -> None:
        """Say what a factor means for voxels of this size."""
        self._voxel_nm = voxel_nm
        self._offer(self.value())

    def value(self) -> UpsampleSettings:
        """Return what the form says."""
        return replace(
            super().value(), factor=self.factor.currentData(), sampling=self.sampling.currentData()
        )

    def promise(self) -> str:
        """Return what must be known; under slab sampling no voxel is kept by any method, as is said there."""
        return super().promise() if self.sampling.currentData() == "point" else ""

    def factors(self) -> tuple[int, ...]:
        """Return the factors the chosen method can do."""
        spec = self.spec()
        return (spec.factors if spec is not None else ()) or tuple(range(LOWEST, HIGHEST + 1))

    def samplings(self) -> tuple[str, ...]:
        """Return the samplings the chosen method can do."""
        spec = self.spec()
        return (spec.samplings if spec is not None else ()) or tuple(SAMPLINGS)

    def _lay_out(self) -> None:
        super()._lay_out()
        self.factor, self.sampling, self.explanation = combo(), combo(), remark()
        # What can be offered depends on the method: it is asked first.
        self.rows.insertRow(2, "Factor", self.factor)
        self.rows.insertRow(3, "A section is", self.sampling)
        self.rows.insertRow(4, self.explanation)

    def _connect(self) -> None:
        super()._connect()
        self.factor.activated.connect(lambda _i: self._changed())
        self.sampling.activated.connect(lambda _i: self._sampling_chosen())

    def _sampling_chosen(self) -> None:
        self._explain()
        self._changed()

    def _show_method(self, settings: Any) -> None:
        self._offer(settings)
        super()._show_method(settings)

    def _offer(self, settings: UpsampleSettings) -> None:
        """Fill both boxes; what the method cannot do gives way to the first thing that it can."""
        self.factor.clear()
        for factor in self.factors():
            self.factor.addItem(factor_text(factor, self._voxel_nm), factor)
        self.factor.setCurrentIndex(max(0, self.factor.findData(settings.factor)))
        self.sampling.clear()
        for name in self.samplings():
            self.sampling.addItem(SAMPLINGS.get(name, name), name)
        if settings.sampling in self.samplings():
            choose(self.sampling, settings.sampling)
        self._explain()

    def _explain(self) -> None:
        self.explanation.setText(EXPLAINED.get(self.sampling.currentData(), ""))
        self._show_promise()


def factor_text(factor: int, voxel_nm: tuple[float, float, float] | None) -> str:
    """Return "x2" and how thick sections will be, when that is known; and whether voxels will be cubes, about."""
    if voxel_nm is None:
        return f"x{factor}"
    z, _, x = voxel_nm
    cubic = ", cubic" if abs(z / factor - x) < CUBIC * x else ""
    return f"x{factor}: {z / factor:.3g} nm{cubic}"


def remark() -> QLabel:
    """Return a label for a sentence or two, set off from the form."""
    label = QLabel()
    label.setWordWrap(True)
    label.setStyleSheet("color: #9aa0a8;")
    return label
