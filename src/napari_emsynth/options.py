"""What a task is asked: one frozen, keyword-only dataclass a task, checked at construction.

The Python keywords, the command line's flags, the docks, *Copy as code* and the JSON of a request are made from its
fields; nothing else knows a default or a limit. Laws: ``from_json(to_json(o)) == o``; what is at its default need not
be said (:meth:`Options.said`); :meth:`Options.grid` says what becomes of a grid before a voxel is touched.

A list of sections is None where the choice is left to the tool, ``()`` for none, a tuple of indices, or text such as
"12,40-42" until the volume is known that it is held against (:meth:`Options.listed`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal, Self

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.params import Params
from napari_emsynth.sections import parse_sections, spans

LookName = Literal["accurate", "natural"]
LOOKS: tuple[LookName, ...] = ("accurate", "natural")
Kind = Literal["value", "sections", "switch", "params"]
# What a user writes for no section, and to leave the choice to the tool.
NO_SECTION, DETECTED = "none", "detected"


@dataclass(frozen=True, kw_only=True)
class OptionField:
    """What a signature, a flag or a page needs to know of one option.

    Args:
        name: in Python; its flag has dashes.
        default: where nothing is said.
        help: one or two sentences; ``python`` are added in Python only, where more can be said than in a flag.
        metavar: stands for the value in the command line's help.
        kind: "switch" for a flag without a value, "sections" for a list of sections, "params" for the method's own.
        positional: may be given without its name in Python.
        required: must be given on the command line.
        flag: False where the command line does not have it.
        choices: all that it may be; empty for anything.
        shown: said in code and in commands that are copied even where it is at its default.
        word: type of the value that its flag takes.
        said_as: what its flag is called where that is not its name.
    """

    name: str
    default: Any
    help: str
    metavar: str = ""
    kind: Kind = "value"
    positional: bool = False
    required: bool = False
    flag: bool = True
    choices: tuple[str, ...] = ()
    shown: bool = False
    word: type = str
    python: str = ""
    said_as: str = ""

    @property
    def spelling(self) -> str:
        """Return the flag."""
        return f"--{(self.said_as or self.name).replace('_', '-')}"


def option(default: Any, help: str, **more: Any) -> Any:  # noqa: A002 - the field's own word
    """Declare an option; see :class:`OptionField` for what else can be said of it."""
    metadata = {"help": help, **more}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def look_option(python: str) -> Any:
    """Declare how what is made up looks; ``python`` says what its uncertainty is of."""
    return option(
        "accurate",
        "The mean of what may have been there, or sections as sharp as tissue, with fine detail of a neighbour.",
        metavar="|".join(LOOKS), choices=LOOKS, python=python,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Described:
    """A value whose fields say of themselves what a signature, a flag and a page need to know."""

    @classmethod
    def fields(cls) -> tuple[OptionField, ...]:
        """Return the options: a class's own first, then those of its parents."""
        known = [
            OptionField(name=f.name, default={} if f.name == "params" else f.default, **f.metadata)
            for f in dataclasses.fields(cls)
            if "help" in f.metadata
        ]
        inherited = [f.name for f in known if f.name not in cls.__annotations__]
        return tuple(sorted(known, key=lambda f: f.name in inherited))

    def values(self) -> dict[str, Any]:
        """Return the options by name."""
        return {known.name: getattr(self, known.name) for known in self.fields()}

    def said(self) -> dict[str, Any]:
        """Return the options that are not at their default, by name."""
        values = self.values()
        defaults = {known.name: known.default for known in self.fields()}
        return {name: value for name, value in values.items() if value != defaults[name]}

    def keywords(self) -> dict[str, Any]:
        """Return what a call in Python is given: what is not at its default, and what every call should say."""
        said = self.said()
        shown = {f.name: getattr(self, f.name) for f in self.fields() if f.name in said or _says(f)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in shown.items()}

    def words(self) -> list[str]:
        """Return the same as words of a command; a method's own parameters are not among them."""
        words: list[str] = []
        said = self.said()
        for known in self.fields():
            if not known.flag or known.kind == "params" or not (known.name in said or _says(known)):
                continue
            value = getattr(self, known.name)
            words += [known.spelling] if known.kind == "switch" else [known.spelling, as_word(value)]
        return words


@dataclass(frozen=True, kw_only=True)
class Options(Described):
    """What every task on a volume is asked.

    Raises:
        InputError: a value that no volume could make right.
    """

    method: str | None = option(None, "Id, see emsynth methods; by default the first that can do this.", metavar="ID")
    weights: str | None = option(None, "Bundled weights or a .safetensors file.", metavar="NAME|FILE")
    params: Mapping[str, Any] | Params | None = option(
        {}, "Of the method, as its dataclass or as a mapping; what is absent takes its default.", kind="params"
    )
    selfcheck: bool = option(
        True, "Do the same where the truth is known, and report the error beside the floors.", flag=False
    )

    def __post_init__(self) -> None:
        for known in self.fields():
            if known.kind == "sections":
                object.__setattr__(self, known.name, _listed(getattr(self, known.name), known.name))
            if known.choices and getattr(self, known.name) not in known.choices:
                given = getattr(self, known.name)
                raise InputError(f"{known.name} {given!r} is not one of {', '.join(known.choices)}")
        if self.params is None:
            object.__setattr__(self, "params", {})

    def listed(self, name: str, count: int) -> tuple[int, ...] | None:
        """Return a list of sections as indices, repeats kept; None where the choice is left to the tool.

        Args:
            name: of the option.
            count: sections of the volume.

        Raises:
            InputError: not such a list, or a section outside the stack.
        """
        given = getattr(self, name)
        if given is None:
            return None
        if isinstance(given, str):
            return tuple(parse_sections(given, count, name))
        for z in given:
            if not 0 <= z < count:
                raise InputError(f"section {z} is outside the stack, whose sections are 0 to {count - 1}")
        return tuple(given)

    def check_sections(self, count: int) -> None:
        """Refuse lists of sections that a stack does not have.

        Raises:
            InputError: not such a list, or a section outside the stack.
        """
        for known in self.fields():
            if known.kind == "sections":
                self.listed(known.name, count)

    def grid(self, grid: Grid) -> Grid:
        """Return the result's grid.

        Raises:
            InputError: what is asked cannot be done to such a grid.
        """
        return grid

    def check_method(self, spec: Any, grid: Grid) -> None:
        """Refuse what a method cannot do.

        Args:
            spec: its :class:`~napari_emsynth.spec.MethodSpec`.
            grid: of the volume.

        Raises:
            InputError: it cannot.
        """

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back to an equal value."""
        values = self.values()
        params = self.params.to_json() if isinstance(self.params, Params) else dict(self.params or {})
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()} | {"params": params}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build from a JSON object; absent names take their default.

        Raises:
            InputError: an unknown name or a bad value.
        """
        known = [f.name for f in cls.fields()]
        for name in values:
            if name not in known:
                raise InputError(f"unknown option {name!r}; known: {', '.join(known)}")
        return cls(**values)


def _says(known: OptionField) -> bool:
    return known.required or known.shown


def as_word(value: Any) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, tuple):
        return (spans(value) if len(set(value)) == len(value) else ",".join(map(str, value))) or NO_SECTION
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _listed(given: Any, name: str) -> tuple[int, ...] | str | None:
    """Return a list of sections as None, a tuple, or text that is not empty.

    Raises:
        InputError: something else.
    """
    if given is None:
        return None
    if isinstance(given, str):
        text = given.strip()
        return None if text == DETECTED else () if text in ("", NO_SECTION) else text
    try:
        sections = [given] if isinstance(given, Integral) else list(given)
    except TypeError:
        raise InputError(f"{name} {given!r} is not a section, nor a list of sections") from None
    for z in sections:
        if isinstance(z, bool) or not isinstance(z, Integral):
            raise InputError(f"{name}: {z!r} is not a section, it is not a whole number")
    return tuple(int(z) for z in sections)
