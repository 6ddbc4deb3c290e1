"""The form of a repair's settings: method, weights, device, and what is folded away."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_emsynth.errors import InputError
from napari_emsynth.params import Params
from napari_emsynth.plugin.engine import Engine
from napari_emsynth.plugin.forms import ParamsForm
from napari_emsynth.plugin.request import Settings
from napari_emsynth.spec import MethodSpec

FROM_FILE = "From a file..."
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


class SettingsForm(QWidget):
    """A form that speaks one value, :class:`Settings`.

    Signals:
        value_changed: the user changed it.
    """

    value_changed = Signal()

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._engine: Engine | None = None
        self._busy = False
        self.method, self.weights, self.device, self.precision = (_combo() for _ in range(4))
        self.tile = _spin(0, 8192, 64, "Tile edge in px; 0 lets the engine choose")
        self.tile.setSpecialValueText("auto")
        self.seed = _spin(0, 2**31 - 1, 1, "Of every random number drawn")
        self.selfcheck = QCheckBox("Self-check on intact neighbours")
        self.in_place = QCheckBox("In place (undoable), no new layer")
        self.lazy = QCheckBox("Lazy: compute what is shown")
        self.with_mask = QCheckBox("Add the synthetic mask")
        self.with_uncertainty = QCheckBox("Add the uncertainty")
        self.params = ParamsForm()
        self._lay_out()
        self.device.addItems(["auto", "cpu"])
        self.precision.addItems(PRECISIONS)
        self.set_value(settings)
        self._connect()

    # -- the value ---------------------------------------------------------------------------------

    def value(self) -> Settings:
        """Return what the form says."""
        return Settings(
            method=self.method.currentData() or "",
            weights=self.weights.currentData() or "",
            params=self._params_value(),
            device=self.device.currentText(),
            precision=self.precision.currentText(),
            tile=self.tile.value(),
            seed=self.seed.value(),
            selfcheck=self.selfcheck.isChecked(),
            place="in place" if self.in_place.isChecked() else "new layer",
            lazy=self.lazy.isChecked(),
            with_mask=self.with_mask.isChecked(),
            with_uncertainty=self.with_uncertainty.isChecked(),
        )

    def set_value(self, settings: Settings) -> None:
        """Show other settings; nothing is emitted."""
        self._busy = True
        try:
            _choose(self.method, settings.method)
            self._show_method(settings)
            _choose(self.device, settings.device)
            self.precision.setCurrentText(settings.precision)
            self.tile.setValue(settings.tile)
            self.seed.setValue(settings.seed)
            self.selfcheck.setChecked(settings.selfcheck)
            self.in_place.setChecked(settings.place == "in place")
            self.lazy.setChecked(settings.lazy)
            self.with_mask.setChecked(settings.with_mask)
            self.with_uncertainty.setChecked(settings.with_uncertainty)
        finally:
            self._busy = False

    def set_engine(self, engine: Engine) -> None:
        """Offer what the loaded engine has."""
        settings = self.value()
        self._engine = engine
        self._busy = True
        self.method.clear()
        for spec in engine.specs:
            self.method.addItem(spec.title or spec.id, spec.id)
        self.device.clear()
        self.device.addItems(engine.devices)
        self.device.setToolTip(engine.why_no_gpu)
        self._busy = False
        self.set_value(settings)

    # -- inside ------------------------------------------------------------------------------------

    def _spec(self) -> MethodSpec | None:
        return None if self._engine is None else self._engine.spec(self.method.currentData())

    def _params_value(self) -> dict[str, object]:
        """Return the parameters that are not at their default; the last valid ones while the user types."""
        try:
            chosen, default = self.params.value().to_json(), self._params_class()().to_json()
        except InputError:
            return {}
        return {name: value for name, value in chosen.items() if value != default[name]}

    def _params_class(self) -> type[Params]:
        spec = self._spec()
        return Params if spec is None else spec.params

    def _show_method(self, settings: Settings) -> None:
        """Show weights and parameters of the chosen method."""
        spec = self._spec()
        self.method.setToolTip("" if spec is None else spec.summary)
        self.weights.clear()
        for name in () if spec is None else spec.weights:
            self.weights.addItem(name, "" if name == spec.weights[0] else name)
        if self.weights.count():
            self.weights.addItem(FROM_FILE, FROM_FILE)
        _choose(self.weights, settings.weights)
        self._form.setRowVisible(self.weights, self.weights.count() > 0)
        fresh = ParamsForm(self._params_class())
        try:
            fresh.set_value(self._params_class().from_json(dict(settings.params)))
        except InputError:
            # Another method's parameters: this one starts from its defaults.
            fresh.set_value(self._params_class()())
        self._form_box.replaceWidget(self.params, fresh)
        self.params.deleteLater()
        self.params = fresh
        fresh.value_changed.connect(self._changed)
        fresh.setVisible(bool(self._params_class().fields()))

    def _method_chosen(self) -> None:
        self._busy = True
        self._show_method(replace(self.value(), weights="", params={}))
        self._busy = False
        self._changed()

    def _weights_chosen(self) -> None:
        if self.weights.currentData() == FROM_FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Weights", "", "Weights (*.safetensors)")
            self._busy = True
            _choose(self.weights, path)
            self._busy = False
        self._changed()

    def _changed(self) -> None:
        if not self._busy:
            self.value_changed.emit()

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        rows = QWidget()
        self._form = _form(rows)
        self._form.addRow("Method", self.method)
        self._form.addRow("Weights", self.weights)
        self._form.addRow("Device", self.device)
        top.addWidget(rows)
        self._form_box = top
        top.addWidget(self.params)
        self.more = QCollapsible("More options", expandedIcon="▾", collapsedIcon="▸")
        inside = QWidget()
        form = _form(inside)
        form.addRow("Precision", self.precision)
        form.addRow("Tile (px)", self.tile)
        form.addRow("Seed", self.seed)
        for box in (self.selfcheck, self.in_place, self.lazy, self.with_mask, self.with_uncertainty):
            form.addRow(box)
        self.more.addWidget(inside)
        top.addWidget(self.more)

    def _connect(self) -> None:
        self.method.activated.connect(lambda _i: self._method_chosen())
        self.weights.activated.connect(lambda _i: self._weights_chosen())
        for combo in (self.device, self.precision):
            combo.activated.connect(lambda _i: self._changed())
        for spin in (self.tile, self.seed):
            spin.valueChanged.connect(lambda _v: self._changed())
        for box in (self.selfcheck, self.in_place, self.lazy, self.with_mask, self.with_uncertainty):
            box.toggled.connect(lambda _on: self._changed())


def _choose(combo: QComboBox, data: str) -> None:
    """Choose an entry by its data (or text); one that is not offered is added, so that no value is lost."""
    index = combo.findData(data)
    if index < 0:
        index = combo.findText(data)
    if index < 0 and data:
        position = max(0, combo.count() - 1) if combo.findData(FROM_FILE) >= 0 else combo.count()
        combo.insertItem(position, data.rsplit("/", 1)[-1], data)
        index = position
    combo.setCurrentIndex(max(index, 0))


def _combo() -> QComboBox:
    combo = QComboBox()
    combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return combo


def _spin(low: int, high: int, step: int, tip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(low, high)
    spin.setSingleStep(step)
    spin.setToolTip(tip)
    return spin


def _form(box: QWidget) -> QFormLayout:
    form = QFormLayout(box)
    form.setContentsMargins(0, 0, 0, 0)
    form.setVerticalSpacing(3)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
