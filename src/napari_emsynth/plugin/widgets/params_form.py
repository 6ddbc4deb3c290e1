"""A form generated from a method's parameters.

Law (round trip): a new form's value equals the defaults, and ``form.value()`` after ``form.set_value(v)``
equals ``v``, for every valid ``v``: floats are shown and read in full precision.
"""

from __future__ import annotations

import math
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFormLayout, QLineEdit, QVBoxLayout, QWidget
from superqt import QLargeIntSpinBox

from napari_emsynth.params import ParamField, Params, Value
from napari_emsynth.plugin.widgets.collapsible import Collapsible

# Beyond what a parameter needs; a Qt spin box has to have limits.
FAR = 1e15
# A spin box rounds to its decimals: enough for any float from 1e-15 up.
DECIMALS = 32


class FloatBox(QDoubleSpinBox):
    """A spin box that shows the shortest text that reads back to the same float."""

    def __init__(self, field: ParamField) -> None:
        super().__init__()
        self.setDecimals(DECIMALS)
        self.setRange(-FAR if field.low is None else field.low, FAR if field.high is None else field.high)
        # Without an explicit step the arrows would jump past small values such as 2e-4.
        self.setSingleStep(field.step or 10 ** (math.floor(math.log10(abs(float(field.default)) or 1.0)) - 1))

    def textFromValue(self, value: float) -> str:  # noqa: N802 - Qt's name
        """Return the shortest exact text."""
        return repr(float(value))

    def valueFromText(self, text: str) -> float:  # noqa: N802 - Qt's name
        """Read it back."""
        return float(text.removesuffix(self.suffix()))

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept whatever Python reads as a float in range; let the user type on otherwise."""
        try:
            value = self.valueFromText(text)
        except ValueError:
            return QValidator.State.Intermediate, text, position
        inside = math.isfinite(value) and self.minimum() <= value <= self.maximum()
        return (QValidator.State.Acceptable if inside else QValidator.State.Intermediate), text, position


def widget_of(field: ParamField) -> QWidget:
    """Return the widget that edits one parameter."""
    if field.choices:
        widget: Any = QComboBox()
        widget.addItems(field.choices)
    elif field.kind is bool:
        widget = QCheckBox()
    elif field.kind is int:
        widget = QLargeIntSpinBox()
        widget.setRange(
            int(-FAR if field.low is None else field.low), int(FAR if field.high is None else field.high)
        )
        widget.setSingleStep(int(field.step or 1))
    elif field.kind is float:
        widget = FloatBox(field)
    else:
        widget = QLineEdit()
    if field.unit and hasattr(widget, "setSuffix"):
        widget.setToolTip(f"{field.help} [{field.unit}]")
    else:
        widget.setToolTip(field.help)
    # Long texts must not push the dock beyond its width.
    widget.setMinimumWidth(40)
    return widget


def label_of(field: ParamField) -> str:
    """Return a parameter's name and unit; a unit that its name ends in, as ``step_px``, is said once."""
    name = field.name.removesuffix(f"_{field.unit}") if field.unit else field.name
    unit = f" ({field.unit})" if field.unit and name != field.unit else ""
    return name.replace("_", " ") + unit


def value_of(widget: Any) -> Value:
    """Return a parameter widget's value."""
    if isinstance(widget, QComboBox):
        return widget.currentText()
    if isinstance(widget, QCheckBox):
        return widget.isChecked()
    return widget.text() if isinstance(widget, QLineEdit) else widget.value()


def put_value(widget: Any, value: Any) -> None:
    """Set a parameter widget's value."""
    if isinstance(widget, QComboBox):
        widget.setCurrentText(value)
    elif isinstance(widget, QCheckBox):
        widget.setChecked(value)
    elif isinstance(widget, QLineEdit):
        widget.setText(value)
    else:
        widget.setValue(value)


def signal_of(widget: Any) -> Any:
    """Return the signal a parameter widget emits when its value changed."""
    if isinstance(widget, QComboBox):
        return widget.currentTextChanged
    if isinstance(widget, QCheckBox):
        return widget.toggled
    return widget.textChanged if isinstance(widget, QLineEdit) else widget.valueChanged


class ParamsForm(QWidget):
    """A form that speaks one value, a frozen Params.

    Signals:
        value_changed: the value was changed by the user.
    """

    value_changed = Signal()

    def __init__(self, params: type[Params] = Params) -> None:
        super().__init__()
        self._params = params
        self._widgets: dict[str, QWidget] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        plain = [f for f in params.fields() if not f.advanced]
        advanced = [f for f in params.fields() if f.advanced]
        if plain:
            layout.addWidget(self._rows(plain))
        if advanced:
            layout.addWidget(Collapsible("More parameters", self._rows(advanced)))

    def value(self) -> Params:
        """Return what the form says.

        Raises:
            InputError: two values that do not go together.
        """
        return self._params(**{name: value_of(widget) for name, widget in self._widgets.items()})

    def set_value(self, params: Params) -> None:
        """Show other values."""
        for name, widget in self._widgets.items():
            put_value(widget, getattr(params, name))

    def _rows(self, fields: list[ParamField]) -> QWidget:
        box = QWidget()
        form = QFormLayout(box)
        form.setContentsMargins(0, 0, 0, 0)
        for field in fields:
            widget = widget_of(field)
            put_value(widget, field.default)
            signal_of(widget).connect(lambda *_: self.value_changed.emit())
            self._widgets[field.name] = widget
            form.addRow(label_of(field), widget)
        return box
