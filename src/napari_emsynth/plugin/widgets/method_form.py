"""The form that all docks share: method, weights, device, and what is folded away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QVBoxLayout, QWidget

from napari_emsynth.errors import InputError
from napari_emsynth.params import Params, Value
from napari_emsynth.plugin.jobs.engine import Engine
from napari_emsynth.plugin.jobs.own_weights import own_weights
from napari_emsynth.plugin.widgets.buttons import combo, form_of, spin
from napari_emsynth.plugin.widgets.collapsible import Collapsible
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.plugin.widgets.params_form import ParamsForm
from napari_emsynth.spec import MethodSpec, Task

FROM_FILE = "From a file..."
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Switch:
    """A check box that stands for one of the settings.

    Args:
        field: its name in the settings.
        text: beside the box.
        on, off: the setting's two values.
        tip: shown when the pointer rests on it.
    """

    field: str
    text: str
    on: Any = True
    off: Any = False
    tip: str = ""


class MethodForm(QWidget):
    """A form that speaks one value, a :class:`MethodSettings`; fields it does not show keep their value.

    Args:
        settings: to start with.
        task: whose methods are offered.
        switches: check boxes among the advanced settings.

    Signals:
        value_changed: the user changed it.
    """

    value_changed = Signal()

    def __init__(self, settings: MethodSettings, task: Task, switches: Sequence[Switch]) -> None:
        super().__init__()
        self.task = task
        self._engine: Engine | None = None
        self._busy = False
        self._given = settings
        self.method, self.weights, self.device, self.precision = (combo() for _ in range(4))
        self.tile = spin(0, 8192, 64, "Tile edge in px; 0 lets the engine choose")
        self.tile.setSpecialValueText("auto")
        self.seed = spin(0, 2**31 - 1, 1, "Of every random number drawn")
        self.switches = {switch: _check_box(switch) for switch in switches}
        self.params = ParamsForm()
        self._lay_out()
        self.device.addItems(["auto", "cpu"])
        self.precision.addItems(PRECISIONS)
        self.set_value(settings)
        self._connect()

    # -- the value ---------------------------------------------------------------------------------

    def value(self) -> Any:
        """Return what the form says, of the class of the settings it was given."""
        return replace(
            self._given,
            method=self.method.currentData() or "",
            weights=self.weights.currentData() or "",
            params=self._params_value(),
            device=self.device.currentText(),
            precision=self.precision.currentText(),
            tile=self.tile.value(),
            seed=self.seed.value(),
            **{s.field: s.on if box.isChecked() else s.off for s, box in self.switches.items()},
        )

    def set_value(self, settings: Any) -> None:
        """Show other settings; nothing is emitted."""
        self._given = settings
        self._busy = True
        try:
            choose(self.method, settings.method)
            self._show_method(settings)
            choose(self.device, settings.device)
            self.precision.setCurrentText(settings.precision)
            self.tile.setValue(settings.tile)
            self.seed.setValue(settings.seed)
            for switch, box in self.switches.items():
                box.setChecked(getattr(settings, switch.field) == switch.on)
        finally:
            self._busy = False

    def set_engine(self, engine: Engine | None) -> None:
        """Offer what the loaded engine has; nothing changes while there is none."""
        if engine is None:
            return
        settings = self.value()
        self._engine = engine
        self._busy = True
        self.method.clear()
        for spec in engine.of(self.task):
            self.method.addItem(spec.title or spec.id, spec.id)
        self.device.clear()
        self.device.addItems(engine.devices)
        self.device.setToolTip(engine.why_no_gpu)
        self._busy = False
        self.set_value(settings)

    def spec(self) -> MethodSpec | None:
        """Return the description of the chosen method, None while the engine is not loaded."""
        return None if self._engine is None else self._engine.spec(self.method.currentData(), self.task)

    # -- inside ------------------------------------------------------------------------------------

    def _params_value(self) -> dict[str, Value]:
        """Return the parameters that are not at their default; the last valid ones while the user types."""
        try:
            chosen = self.params.value()
        except InputError:
            return {}
        # Not the chosen method's class: right after another was chosen, the form still shows the one before.
        default = type(chosen)().to_json()
        return {name: value for name, value in chosen.to_json().items() if value != default[name]}

    def _params_class(self) -> type[Params]:
        spec = self.spec()
        return Params if spec is None else spec.params

    def _show_method(self, settings: MethodSettings) -> None:
        """Show weights and parameters of the chosen method."""
        spec = self.spec()
        self.method.setToolTip("" if spec is None else spec.summary)
        self._offer_weights(settings.weights)
        fresh = ParamsForm(self._params_class())
        try:
            fresh.set_value(self._params_class().from_json(dict(settings.params)))
        except InputError:
            # Another method's parameters: this one starts from its defaults.
            fresh.set_value(self._params_class()())
        self._form_box.replaceWidget(self.params, fresh)
        # Out of the layout it would lie over the rows until it is gone.
        self.params.hide()
        self.params.deleteLater()
        self.params = fresh
        fresh.value_changed.connect(self._changed)
        fresh.setVisible(bool(self._params_class().fields()))

    def refresh_weights(self) -> None:
        """Offer the weights there are by now; the chosen ones stay chosen."""
        self._offer_weights(self.weights.currentData() or "")

    def _offer_weights(self, chosen: str) -> None:
        """List the bundled weights and the user's own."""
        spec = self.spec()
        self.weights.clear()
        bundled = self._bundled()
        for name in bundled:
            self.weights.addItem(name, "" if name == bundled[0] else name)
        for name in () if spec is None else own_weights().names(spec.name):
            self.weights.addItem(name, name)
        if self.weights.count():
            self.weights.addItem(FROM_FILE, FROM_FILE)
        choose(self.weights, chosen)
        self.rows.setRowVisible(self.weights, self.weights.count() > 0)

    def _bundled(self) -> tuple[str, ...]:
        """Return the bundled weights that can be chosen, the default first."""
        spec = self.spec()
        return () if spec is None else spec.weights

    def _method_chosen(self) -> None:
        self._busy = True
        self._show_method(replace(self.value(), weights="", params={}))
        self._busy = False
        self._changed()

    def _weights_chosen(self) -> None:
        if self.weights.currentData() == FROM_FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Weights", "", "Weights (*.safetensors)")
            self._busy = True
            choose(self.weights, path)
            self._busy = False
        self._changed()

    def _changed(self) -> None:
        if not self._busy:
            self.value_changed.emit()

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        box = QWidget()
        self.rows = form_of(box)
        self.rows.addRow("Method", self.method)
        self.rows.addRow("Weights", self.weights)
        self.rows.addRow("Device", self.device)
        top.addWidget(box)
        self._form_box = top
        top.addWidget(self.params)
        inside = QWidget()
        form = form_of(inside)
        form.addRow("Precision", self.precision)
        form.addRow("Tile (px)", self.tile)
        form.addRow("Seed", self.seed)
        for check_box in self.switches.values():
            form.addRow(check_box)
        self.more = Collapsible("More options", inside)
        top.addWidget(self.more)

    def _connect(self) -> None:
        own_weights().weights_changed.connect(self.refresh_weights)
        self.method.activated.connect(lambda _i: self._method_chosen())
        self.weights.activated.connect(lambda _i: self._weights_chosen())
        for box in (self.device, self.precision):
            box.activated.connect(lambda _i: self._changed())
        for number in (self.tile, self.seed):
            number.valueChanged.connect(lambda _v: self._changed())
        for check_box in self.switches.values():
            check_box.toggled.connect(lambda _on: self._changed())


def choose(box: QComboBox, data: str) -> None:
    """Choose an entry by its data (or text); one that is not offered is added, so that no value is lost."""
    index = box.findData(data)
    if index < 0:
        index = box.findText(data)
    if index < 0 and data:
        position = max(0, box.count() - 1) if box.findData(FROM_FILE) >= 0 else box.count()
        box.insertItem(position, data.rsplit("/", 1)[-1], data)
        index = position
    box.setCurrentIndex(max(index, 0))


def _check_box(switch: Switch) -> QCheckBox:
    box = QCheckBox(switch.text)
    box.setToolTip(switch.tip)
    return box
