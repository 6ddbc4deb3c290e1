"""The tasks: the options of each, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from napari_emsynth.options import Options
from napari_emsynth.spec import Task

# The function's name where it is not the task's: a noun makes no call.
VERBS = {"superres": "superresolve"}


def options_of(task: Task) -> type[Options]:
    """Return the class of a task's options; loads no engine."""
    module = import_module(f"napari_emsynth.methods.{task}.options")
    options: type[Options] = getattr(module, f"{task.title()}Options")
    return options


def name_of(task: Task) -> str:
    """Return what a task's function is called in Python."""
    return VERBS.get(task, task)


def function_of(task: Task) -> Callable[..., Any]:
    """Return the function that does a task, as a user calls it."""
    function: Callable[..., Any] = getattr(import_module(f"napari_emsynth.methods.{task}.task"), name_of(task))
    return function
