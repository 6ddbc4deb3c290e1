"""How many times more sections: chosen directly, or so that the layer's voxels become cubes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Triple
from napari_emsynth.methods.upsample.lattice import HIGHEST, LOWEST, check_number, isotropic_factor
from napari_emsynth.plugin.volume_task.forecast import voxel_text
from napari_emsynth.plugin.widgets.buttons import button
from napari_emsynth.plugin.widgets.notices import remark

# Two factors this close are the same: the box shows this many decimals.
SAME, DECIMALS = 0.005, 3
NUMBER_PX = 92


class FactorBox(QDoubleSpinBox):
    """A factor; one beyond the limits can be typed, so that it can be said what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.setRange(0, 10 * HIGHEST)
        self.setDecimals(DECIMALS)
        self.setPrefix("x")
        self.setKeyboardTracking(False)

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """Write a whole factor as one."""
        return str(self.locale().toString(float(value), "g", 4))

    def stepBy(self, steps: int) -> None:  # noqa: N802 - Qt's name
        """Step, within the limits."""
        self.setValue(min(max(self.value() + steps, LOWEST), HIGHEST))


class FactorRow(QWidget):
    """Speaks a factor, and whether it is that of cubic voxels.

    Signals:
        changed: the user chose another.
        voxel_size_asked: the user wants to state the layer's voxel size.
    """

    changed = Signal()
    voxel_size_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._voxel_nm: Triple | None = None
        self._factors: tuple[float, ...] = ()
        self._is_ready = False
        self._factor = float(LOWEST)
        self.number, self.isotropic = FactorBox(), QCheckBox("isotropic")
        self.number.setToolTip("Sections of the result for each of the layer, 2 to 12; need not be whole")
        self.isotropic.setToolTip("Make isotropic: the factor that makes voxels as high as they are wide")
        self.number.setMinimumWidth(NUMBER_PX)
        self.line = remark()
        self.ask: QPushButton = button("Voxel size...", "State the voxel size of this layer, in nm")
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.number, 1)
        row.addWidget(self.isotropic)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(row)
        layout.addWidget(self.line)
        layout.addWidget(self.ask)
        self.number.valueChanged.connect(self._typed)
        self.isotropic.clicked.connect(self._cubes_asked)
        self.ask.clicked.connect(lambda: self.voxel_size_asked.emit())
        self._show()

    def value(self) -> tuple[float, bool]:
        """Return the factor and whether it is that of cubic voxels."""
        return self._factor, self.isotropic.isChecked()

    def set_value(self, factor: float, isotropic: bool) -> None:
        """Choose; nothing is emitted."""
        self._factor = factor
        self.isotropic.setChecked(isotropic)
        self._show()

    def set_voxel_nm(self, voxel_nm: Triple | None) -> None:
        """Take the layer's voxel size; the factor follows it where cubes are asked for."""
        self._voxel_nm = voxel_nm
        self._show()

    def offer(self, factors: tuple[float, ...]) -> None:
        """Let only these be chosen, () for all; another that was chosen gives way to the nearest."""
        self._factors = factors
        self._show()

    def set_ready(self) -> None:
        """The engine is loaded: it knows which factor makes cubes."""
        self._is_ready = True
        self._show()

    def why_not(self) -> str:
        """Return in one line why voxels cannot be made cubes here; "" when they can."""
        if not self._is_ready:
            return "loading"
        try:
            factor = self._cubes()
        except InputError as reason:
            return str(reason)
        if self._factors and all(abs(factor - known) > SAME for known in self._factors):
            known = " or ".join(f"x{known:g}" for known in self._factors)
            return f"cubic voxels need x{factor:.3g}; the chosen method does {known}"
        return ""

    # -- inside ------------------------------------------------------------------------------------

    def _typed(self, factor: float) -> None:
        self._factor = factor
        self._chosen()

    def _cubes(self) -> float:
        """Return the factor that makes voxels as high as they are wide."""
        return isotropic_factor(Grid(shape=(1, 1, 1), voxel_nm=self._voxel_nm))

    def _cubes_asked(self, on: bool) -> None:
        self._chosen()
        if on and self._voxel_nm is None:
            self.voxel_size_asked.emit()

    def _chosen(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        why_not = self.why_not()
        if self.isotropic.isChecked() and not why_not:
            self._factor = self._cubes()
        elif self._factors:
            self._factor = min(self._factors, key=lambda known: abs(known - self._factor))
        self.number.blockSignals(True)
        self.number.setValue(self._factor)
        self.number.lineEdit().deselect()
        self.number.blockSignals(False)
        self.number.setEnabled(not self.isotropic.isChecked() and len(self._factors) != 1)
        self.ask.setVisible(self._voxel_nm is None)
        self.line.setText(self._said(why_not) if self._is_ready else "")
        self.line.setVisible(bool(self.line.text()))

    def _said(self, why_not: str) -> str:
        if self.isotropic.isChecked() and why_not:
            return why_not
        try:
            check_number(self._factor)
        except InputError as reason:
            return str(reason)
        if self._voxel_nm is None:
            return ""
        z, y, x = self._voxel_nm
        voxel = f"{voxel_text(self._voxel_nm)} become {voxel_text((z / self._factor, y, x))}"
        if self.isotropic.isChecked() or why_not:
            return voxel
        return f"{voxel}; isotropic is x{self._cubes():.3g}"
