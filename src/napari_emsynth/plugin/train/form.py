"""The form of a training: what to train, from which weights, for what, how long, where, and under which name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_emsynth.plugin.jobs.engine import Engine
from napari_emsynth.plugin.jobs.own_weights import own_weights
from napari_emsynth.plugin.widgets.buttons import combo, form_of, spin
from napari_emsynth.plugin.widgets.collapsible import Collapsible
from napari_emsynth.plugin.widgets.method_form import FROM_FILE, choose
from napari_emsynth.spec import MethodSpec
from napari_emsynth.weights import own

MINUTES, STEPS = "minutes", "steps"
# What a form starts with, and what it goes to when the unit is changed.
BUDGET = {MINUTES: 10.0, STEPS: 1000.0}
# napari's theme asks for 90 px in each spin box; two side by side would push the dock beyond its width.
NARROW = "QAbstractSpinBox { min-width: 36px; }"
SAME_OBJECTIVE = "as the starting weights"
FROM_NOTHING = "nothing (from scratch)"
TASK_WORDS = {
    "interpolate": "Interpolation",
    "align": "Alignment",
    "upsample": "Upsampling",
    "superres": "Super-resolution",
}


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What the form says.

    Args:
        method: TASK/ID, "" while none is known.
        start: weights to start from; "" for the method's default.
        objective: "" for that of the starting weights.
        minutes, steps: one of them.
        device, seed: as in :class:`~napari_emsynth.spec.Runtime`.
        name: of the new weights.
    """

    method: str = ""
    start: str = ""
    objective: str = ""
    minutes: float | None = BUDGET[MINUTES]
    steps: int | None = None
    device: str = "auto"
    seed: int = 0
    name: str = ""


class TrainForm(QWidget):
    """A form that speaks one value, :class:`TrainSettings`.

    Signals:
        method_chosen: another method is shown.
    """

    method_chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._engine: Engine | None = None
        self._base = ""
        self.method, self.start, self.objective, self.device, self.unit = (combo() for _ in range(5))
        self.budget = QDoubleSpinBox()
        self.name = QLineEdit()
        self.seed = spin(0, 2**31 - 1, 1, "Of weights and samples")
        self._lay_out()
        self.device.addItems(["auto", "cpu"])
        self.unit.addItems([MINUTES, STEPS])
        self._show_unit()
        self._connect()

    # -- the value ---------------------------------------------------------------------------------

    def value(self) -> TrainSettings:
        """Return what the form says."""
        in_minutes = self.unit.currentText() == MINUTES
        return TrainSettings(
            method=self.method.currentData() or "",
            start=self.start.currentData() or "",
            objective=self.objective.currentData() or "",
            minutes=self.budget.value() if in_minutes else None,
            steps=None if in_minutes else int(self.budget.value()),
            device=self.device.currentText(),
            seed=self.seed.value(),
            name=self.name.text().strip() or self.name.placeholderText(),
        )

    def set_value(self, settings: TrainSettings) -> None:
        """Show other settings."""
        choose(self.method, settings.method)
        self._show_method()
        choose(self.start, settings.start)
        choose(self.objective, settings.objective)
        in_minutes = settings.minutes is not None
        self.unit.setCurrentText(MINUTES if in_minutes else STEPS)
        self._show_unit()
        self.budget.setValue(settings.minutes if in_minutes else settings.steps or 1)
        choose(self.device, settings.device)
        self.seed.setValue(settings.seed)
        self.name.setText("" if settings.name == self.name.placeholderText() else settings.name)

    def set_engine(self, engine: Engine | None) -> None:
        """Offer what can be trained, and where; nothing changes while there is no engine."""
        if engine is None:
            return
        settings = self.value()
        self._engine = engine
        self.method.clear()
        for spec in engine.specs:
            if spec.recipes:
                self.method.addItem(f"{TASK_WORDS[spec.task]}: {spec.title}", spec.name)
        self.device.clear()
        self.device.addItems(engine.devices)
        self.device.setToolTip(engine.why_no_gpu)
        self.set_value(settings)

    def spec(self) -> MethodSpec | None:
        """Return the description of the chosen method, None while the engine is not loaded."""
        specs = () if self._engine is None else self._engine.specs
        return next((spec for spec in specs if spec.name == self.method.currentData()), None)

    def suggest_name(self, base: str) -> None:
        """Propose a name made from a layer's, one that is free."""
        self._base = base
        stem = re.sub(r"[^A-Za-z0-9]+", "-", base).strip("-").lower() or "mine"
        wanted, n = stem[: own.LONGEST_NAME - 4], 1
        while (own.folder() / f"{wanted}.safetensors").exists():
            n += 1
            wanted = f"{stem}-{n}"
        self.name.setPlaceholderText(wanted)

    def refresh_weights(self) -> None:
        """Offer the weights there are by now; what is chosen stays."""
        chosen = self.start.currentData() or ""
        self._show_weights()
        choose(self.start, chosen)
        self.suggest_name(self._base)

    # -- inside ------------------------------------------------------------------------------------

    def _show_method(self) -> None:
        """Show weights and objectives of the chosen method."""
        spec = self.spec()
        self.method.setToolTip("" if spec is None else spec.summary)
        self._show_weights()
        self.objective.clear()
        self.objective.addItem(SAME_OBJECTIVE, "")
        for name in () if spec is None else spec.recipes:
            self.objective.addItem(name, name)
        self.rows.setRowVisible(self.objective, spec is not None and len(spec.recipes) > 1)

    def _show_weights(self) -> None:
        spec = self.spec()
        self.start.clear()
        if spec is None:
            return
        for name in spec.weights:
            self.start.addItem(f"{name} (bundled)", "" if name == spec.weights[0] else name)
        for name in own_weights().names(spec.name):
            self.start.addItem(name, name)
        self.start.addItem(FROM_NOTHING, own.SCRATCH)
        self.start.addItem(FROM_FILE, FROM_FILE)

    def _method_activated(self) -> None:
        self._show_method()
        self.method_chosen.emit()

    def _start_activated(self) -> None:
        if self.start.currentData() == FROM_FILE:
            path, _ = QFileDialog.getOpenFileName(self, "Weights to start from", "", "Weights (*.safetensors)")
            choose(self.start, path)

    def _show_unit(self) -> None:
        """Show a budget of the chosen unit."""
        in_minutes = self.unit.currentText() == MINUTES
        self.budget.setDecimals(1 if in_minutes else 0)
        self.budget.setRange(0.1 if in_minutes else 1, 10_000 if in_minutes else 10_000_000)
        self.budget.setSingleStep(1 if in_minutes else 100)
        self.budget.setValue(BUDGET[self.unit.currentText()])

    def _lay_out(self) -> None:
        top = QVBoxLayout(self)
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(4)
        box = QWidget()
        self.rows = form_of(box)
        length = QHBoxLayout()
        length.addWidget(self.budget, 1)
        length.addWidget(self.unit, 1)
        narrow(self.budget)
        self.start.setToolTip("Training goes on from these weights, which stay as they are")
        self.objective.setToolTip("What the network is trained for")
        self.name.setToolTip("The new weights appear under this name wherever weights are chosen")
        for title, field in (
            ("Method", self.method), ("Start from", self.start), ("Train for", self.objective), ("For", length),
            ("Device", self.device), ("Save as", self.name),
        ):  # fmt: skip
            self.rows.addRow(title, field)
        top.addWidget(box)
        inside = QWidget()
        form_of(inside).addRow("Seed", self.seed)
        self.more = Collapsible("More options", inside)
        top.addWidget(self.more)

    def _connect(self) -> None:
        self.method.activated.connect(lambda _i: self._method_activated())
        self.start.activated.connect(lambda _i: self._start_activated())
        self.unit.activated.connect(lambda _i: self._show_unit())
        own_weights().weights_changed.connect(self.refresh_weights)


def narrow(box: QAbstractSpinBox) -> None:
    """Let a spin box shrink."""
    box.setStyleSheet(NARROW)


def texts(box: QComboBox) -> list[str]:
    """Return what a box offers."""
    return [box.itemText(i) for i in range(box.count())]
