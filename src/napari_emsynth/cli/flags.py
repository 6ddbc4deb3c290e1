"""Flags made from dataclasses: a group of common options, or a method's parameters.

A command declares a keyword (``common``, ``values``) for each group; :func:`spread` replaces it by the flags
of the group and hands the command one value again. So a flag is declared once, and a method's not at all.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import typer

from napari_emsynth.errors import InputError
from napari_emsynth.options import Described, OptionField
from napari_emsynth.params import ParamField
from napari_emsynth.spec import Task

KEYWORD = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class Group:
    """Flags that travel together: what they are, and how their values become one."""

    flags: tuple[inspect.Parameter, ...]
    build: Callable[[dict[str, Any]], Any]


def options(cls: type) -> Group:
    """Return a group whose flags are the ``Annotated`` fields of a dataclass."""
    hints = get_type_hints(cls, include_extras=True)
    flags = tuple(
        inspect.Parameter(field.name, KEYWORD, default=field.default, annotation=hints[field.name])
        for field in dataclasses.fields(cls)
    )
    return Group(flags, lambda given: cls(**given))


def option_flags(cls: type[Described]) -> Group:
    """Return a group whose flags are options, and whose value is what the user gave of them, by name."""
    known = [f for f in cls.fields() if f.flag and f.kind != "params"]
    flags = tuple(_option_flag(field) for field in known)
    return Group(flags, lambda given: {name: value for name, value in given.items() if value is not None})


def _option_flag(field: OptionField) -> inspect.Parameter:
    """Return the flag of one option; None stands for "not given", so that the option's default holds."""
    shown = None if field.default in (None, (), False) or field.required else str(field.default)
    option = typer.Option(field.spelling, help=field.help, metavar=field.metavar or None, show_default=shown or False)
    if field.kind == "switch":
        return inspect.Parameter(field.name, KEYWORD, default=False, annotation=Annotated[bool, option])
    if field.required:
        return inspect.Parameter(field.name, KEYWORD, annotation=Annotated[field.word, option])
    annotation = Annotated[field.word | None, option]  # type: ignore[name-defined]
    return inspect.Parameter(field.name, KEYWORD, default=None, annotation=annotation)


def method_flags(task: Task, method: str | None) -> Group:
    """Return a group whose flags are a method's parameters, and whose value is what the user gave of them.

    Args:
        task: such as "interpolate".
        method: its id, or None for the task's default.

    Raises:
        InputError: an unknown method.
    """
    from napari_emsynth.methods import default, get

    spec = get(task, method or default(task))
    flags = tuple(_flag(field) for field in spec.params.fields())
    return Group(flags, lambda given: {name: value for name, value in given.items() if value is not None})


def _flag(field: ParamField) -> inspect.Parameter:
    """Return the flag of one parameter; None stands for "not given", so that the method's default holds."""
    name = field.name.replace("_", "-")
    spelling = f"--{name}/--no-{name}" if field.kind is bool else f"--{name}"
    shown = ("yes" if field.default else "no") if field.kind is bool else str(field.default)
    option = typer.Option(spelling, help=_describe(field), show_default=shown, rich_help_panel="Method")
    # The type is a value here, made from a field; a checker cannot follow it.
    annotation = Annotated[field.kind | None, option]  # type: ignore[name-defined]
    return inspect.Parameter(field.name, KEYWORD, default=None, annotation=annotation)


def _describe(field: ParamField) -> str:
    limits = [f"at least {field.low:g}"] if field.low is not None else []
    limits += [f"at most {field.high:g}"] if field.high is not None else []
    unit = f" {field.unit}" if field.unit else ""
    allowed = f" One of {', '.join(field.choices)}." if field.choices else ""
    return field.help.rstrip(".") + "." + (f" ({' and '.join(limits)}{unit})" if limits else "") + allowed


def spread(command: Callable[..., None], groups: Mapping[str, Group]) -> Callable[..., None]:
    """Return ``command`` with every keyword that names a group replaced by the group's flags."""
    own, used = [], {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name in groups:
            used[parameter.name] = groups[parameter.name]
        elif parameter.name not in ("values", "options"):
            own.append(parameter)
    flags = own + [flag for group in used.values() for flag in group.flags]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        values = {
            name: group.build({flag.name: given.pop(flag.name) for flag in group.flags}) for name, group in used.items()
        }
        command(**given, **values)

    del run.__wrapped__
    run.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    run.__annotations__ = {flag.name: flag.annotation for flag in flags}
    return run


def option_value(words: Sequence[str], name: str) -> str | None:
    """Return what ``words`` give to the option ``name`` (the last one wins), or None.

    Raises:
        InputError: the option ends the line without a value.
    """
    found = None
    for index, word in enumerate(words):
        if word.startswith(f"{name}="):
            found = word.partition("=")[2]
        elif word == name:
            if index + 1 == len(words):
                raise InputError(f"{name} needs a value")
            found = words[index + 1]
    return found
