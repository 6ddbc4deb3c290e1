"""Functions as users call them: arrays for volumes, options by their names, how to compute by its parts.

Law: no signature is written twice. A function that is given ``options`` (an :class:`~napari_emsynth.options.Described`)
and ``runtime`` gets the keywords of both, and its docstring theirs in place of ``{options}``.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast, get_type_hints

from napari_emsynth.errors import InputError
from napari_emsynth.methods.working import section_px, working
from napari_emsynth.options import Described, OptionField
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Volume

R = TypeVar("R")
# Parts of a Runtime that have a keyword of their own, with what is said of them.
PARTS = {
    "device": '"auto", "cpu", "cuda", "cuda:n" or "mps".',
    "precision": '"auto", "fp32", "bf16" or "fp16".',
    "tile": "tile edge in px; None lets the engine choose.",
    "seed": "of every random number drawn.",
    "progress": "called with (done, total, what) from the computing thread.",
}
SIZE = "voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it."
WHOLE = "runtime: all of those in one object, with a cancel token; excludes them."
WIDTH = 116
KEYWORD, POSITIONAL = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD


def public(function: Callable[..., R]) -> Callable[..., R]:
    """Return a function in a user's words; it computes with as many threads as the volume's sections are worth.

    Args:
        function: has a parameter ``volume``, ``runtime`` and, if it is a task, ``options``.
    """
    own = dict(inspect.signature(function).parameters)
    asked = get_type_hints(function).get("options")
    signature = inspect.Signature(_parameters(own, asked))

    @wraps(function)
    def call(*args: Any, **given: Any) -> R:
        said = dict(signature.bind(*args, **given).arguments)
        said["volume"] = Volume.of(said["volume"], voxel_nm=said.pop("voxel_nm", None))
        said["runtime"] = runtime_of(said)
        if asked is not None:
            said["options"] = _options(asked, said)
        # What is positional in the function stays so: it may be given by name as well.
        with working(section_px(said["volume"])):
            made = function(**said)
        return _with_what_was_asked(made, said)

    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__doc__ = (inspect.getdoc(function) or "").replace("{options}", _described(asked))
    return call


def _with_what_was_asked(made: R, said: Mapping[str, Any]) -> R:
    """Return what a task made with what it was asked in its record; anything else as it is."""
    if not (isinstance(made, Result) and "options" in said):
        return made
    from napari_emsynth.methods.again import told_of

    beside = [name for name in said if name not in ("volume", "options", "runtime") and said[name] is not None]
    return cast("R", told_of(made, said["options"], said["runtime"], beside))


def runtime_of(said: dict[str, Any]) -> Runtime:
    """Take out what is said of a runtime, whole or in parts, and return it.

    Raises:
        InputError: both.
    """
    parts = {name: said.pop(name) for name in PARTS if name in said}
    whole = said.pop("runtime", None)
    if whole is None:
        return Runtime(**{name: value for name, value in parts.items() if (name, value) != ("progress", None)})
    if parts:
        raise InputError(f"give either runtime or its parts ({', '.join(PARTS)}), not both")
    return cast("Runtime", whole)


def _options(cls: type[Described], said: dict[str, Any]) -> Described:
    """Take out the options, whole or in parts, and return them.

    Raises:
        InputError: both, or a bad value.
    """
    parts = {known.name: said.pop(known.name) for known in cls.fields() if known.name in said}
    whole = said.pop("options", None)
    if whole is None:
        return cls(**parts)
    if parts:
        raise InputError(f"give either options or their parts ({', '.join(parts)}), not both")
    return cast("Described", whole)


def _parameters(own: dict[str, inspect.Parameter], asked: type[Described] | None) -> list[inspect.Parameter]:
    fields = () if asked is None else asked.fields()
    options = [inspect.Parameter(f.name, POSITIONAL if f.positional else KEYWORD, default=f.default) for f in fields]
    options += [inspect.Parameter("options", KEYWORD, default=None)] if asked else []
    defaults = {f.name: f.default for f in dataclasses.fields(Runtime) if f.name in PARTS}
    how = [inspect.Parameter(name, KEYWORD, default=None if name == "progress" else defaults[name]) for name in PARTS]
    rest = [p for name, p in own.items() if name not in ("options", "runtime")]
    size = inspect.Parameter("voxel_nm", KEYWORD, default=None)
    whole = inspect.Parameter("runtime", KEYWORD, default=None)
    every = [*rest, *options, size, *how, whole]
    return sorted(every, key=lambda p: p.kind)


def _described(asked: type[Described] | None) -> str:
    """Return the docstring's lines of the keywords, as far as they go after ``Args:``."""
    lines = [f"{f.name}: {_told(f)}" for f in (() if asked is None else asked.fields())]
    lines += ["options: all of those in one object; excludes them."] if asked else []
    lines += [SIZE, *(f"{name}: {text}" for name, text in PARTS.items()), WHOLE]
    wrapped = [textwrap.fill(line, WIDTH, initial_indent="    ", subsequent_indent="        ") for line in lines]
    return "\n".join(wrapped).strip()


def _told(known: OptionField) -> str:
    text = known.help.replace("--", "")
    return f"{text[0].lower()}{text[1:]} {known.python}".strip()
