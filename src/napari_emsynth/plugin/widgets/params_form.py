"""A form generated from a method's parameters.

Law (round trip): a new form's value equals the defaults, and ``form.value()`` after ``form.set_value(v)``
equals ``v``, for every valid ``v``: floats are shown and read in full precision.
"""

from __future__ import annotations

import math
from typing import Any

from magicgui.widgets import create_widget
from qtpy.QtCore import Signal
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QVBoxLayout, QWidget

from napari_emsynth.params import ParamField, Params
from napari_emsynth.plugin.widgets.buttons import form_of
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


class ExactFloat:
    """A :class:`FloatBox` as magicgui's widgets are used: value, changed, native."""

    def __init__(self, field: ParamField) -> None:
        self.native = FloatBox(field)
        self.changed = self.native.valueChanged

    @property
    def value(self) -> float:
        """The number shown."""
        return float(self.native.value())

    @value.setter
    def value(self, value: float) -> None:
        self.native.setValue(value)


def widget_of(field: ParamField) -> Any:
    """Return the magicgui widget that edits one parameter, at its default; one that is exact for floats."""
    if field.kind is float:
        # magicgui's rounds to decimals.
        made: Any = ExactFloat(field)
    else:
        options: dict[str, Any] = {}
        if field.choices:
            options = {"choices": field.choices}
        elif field.kind is int:
            low, high = ((-FAR if field.low is None else field.low), (FAR if field.high is None else field.high))
            options = {"min": int(low), "max": int(high), "step": int(field.step or 1)}
        made = create_widget(annotation=field.kind, options=options)
    made.value = field.default
    is_number = field.kind in (int, float)
    made.native.setToolTip(f"{field.help} [{field.unit}]" if field.unit and is_number else field.help)
    # Long texts must not push the dock beyond its width.
    made.native.setMinimumWidth(40)
    return made


def label_of(field: ParamField) -> str:
    """Return a parameter's name and unit; a unit that its name ends in, as ``step_px``, is said once."""
    name = field.name.removesuffix(f"_{field.unit}") if field.unit else field.name
    unit = f" ({field.unit})" if field.unit and name != field.unit else ""
    return name.replace("_", " ") + unit


class ParamsForm(QWidget):
    """A form that speaks one value, a frozen Params.

    Signals:
        value_changed: the value was changed by the user.
    """

    value_changed = Signal()

    def __init__(self, params: type[Params] = Params) -> None:
        super().__init__()
        self._params = params
        self.widgets: dict[str, Any] = {}
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
        return self._params(**{name: widget.value for name, widget in self.widgets.items()})

    def set_value(self, params: Params) -> None:
        """Show other values."""
        for name, widget in self.widgets.items():
            widget.value = getattr(params, name)

    def _rows(self, fields: list[ParamField]) -> QWidget:
        box = QWidget()
        form = form_of(box)
        for field in fields:
            widget = widget_of(field)
            widget.changed.connect(lambda _value: self.value_changed.emit())
            self.widgets[field.name] = widget
            form.addRow(label_of(field), widget.native)
        return box
