"""Parameters of a method: one frozen, keyword-only dataclass, checked at construction.

Forms, command-line flags, JSON and documentation are generated from the fields. Laws: ``from_json(to_json(p)) == p``;
``cls()`` is valid; a value outside its range never exists.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

from napari_emsynth.errors import InputError

Value = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class ParamField:
    """What a form, a flag or a page needs to know of one parameter."""

    name: str
    default: Value
    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()
    advanced: bool = False

    @property
    def kind(self) -> type[Value]:
        """Bool, int, float or str."""
        return type(self.default)

    def check(self, value: Any) -> Value:
        """Return ``value`` in the field's type.

        Raises:
            InputError: wrong type, outside the range, or not one of the choices.
        """
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind:
            raise InputError(f"{self.name} = {value!r} is not a value of type {self.kind.__name__}")
        if self.choices and value not in self.choices:
            raise InputError(f"{self.name} = {value!r} is not one of {', '.join(self.choices)}")
        if isinstance(value, int | float):
            self._check_range(value)
        return value

    def _check_range(self, value: float) -> None:
        if not math.isfinite(value):
            raise InputError(f"{self.name} = {value} is not a finite number")
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and value < self.low:
            raise InputError(f"{self.name} = {value}{unit} is below the limit of {self.low:g}{unit}")
        if self.high is not None and value > self.high:
            raise InputError(f"{self.name} = {value}{unit} is above the limit of {self.high:g}{unit}")


def param(
    default: Value,
    help: str,  # noqa: A002 - the field's own word
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: tuple[str, ...] = (),
    advanced: bool = False,
) -> Any:
    """Declare a parameter: its default, one sentence of help, and what it may be."""
    return dataclasses.field(
        default=default,
        metadata={
            "help": help, "unit": unit, "low": low, "high": high, "step": step,
            "choices": choices, "advanced": advanced,
        },
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Params:
    """Base of every method's parameters; a method without any uses it as it is."""

    def __post_init__(self) -> None:
        for field in self.fields():
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    @classmethod
    def fields(cls) -> tuple[ParamField, ...]:
        """Return the declared parameters, in order."""
        return tuple(
            ParamField(name=f.name, default=f.default, **f.metadata)  # type: ignore[arg-type]
            for f in dataclasses.fields(cls)
        )

    def to_json(self) -> dict[str, Value]:
        """Return a JSON object that :meth:`from_json` reads back to an equal value."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Build from a JSON object; absent names take their default.

        Raises:
            InputError: an unknown name or a bad value.
        """
        known = {f.name for f in cls.fields()}
        for name in values:
            if name not in known:
                raise InputError(f"unknown parameter {name!r}; known: {', '.join(sorted(known)) or 'none'}")
        return cls(**values)
