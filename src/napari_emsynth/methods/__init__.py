"""The methods: an index of ours, one word a method, and those that other packages bring.

A method file ends in ``SPEC = MethodSpec(...)``. Other packages register theirs through the entry-point group
``napari_emsynth.methods``; the entry point names a ``MethodSpec``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from napari_emsynth.errors import InputError
from napari_emsynth.spec import TASKS, MethodSpec, Task

INDEX: dict[Task, tuple[str, ...]] = {
    "interpolate": ("emsynth", "fitted", "jain2017", "optical-flow", "linear"),
    "align": ("emsynth", "ssemnet", "li2017", "jain2017", "optical-flow"),
    "upsample": ("emsynth", "kriging", "jain2017", "linear"),
    "superres": ("single-stage", "gpemsr", "bicubic"),
}
"""Ids by task, the default first; the module is the id with underscores, or ``method`` in a folder of that name."""

DEFAULT: dict[Task, str] = {task: ids[0] for task, ids in INDEX.items() if ids}

ENTRY_POINT_GROUP = "napari_emsynth.methods"


def _foreign(task: str) -> dict[str, MethodSpec]:
    found = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        spec = point.load()
        if not isinstance(spec, MethodSpec):
            raise InputError(f"entry point {point.name!r} of {ENTRY_POINT_GROUP} is not a MethodSpec: {spec!r}")
        if spec.task == task:
            found[spec.id] = spec
    return found


def _ours(name: str) -> MethodSpec:
    module = import_module(name)
    if hasattr(module, "__path__"):
        module = import_module(f"{name}.method")
    spec: MethodSpec = module.SPEC
    return spec


def get(task: str, id: str) -> MethodSpec:  # noqa: A002 - the word users know
    """Return one method.

    Raises:
        InputError: unknown task or id; the message names those there are.
    """
    if task not in TASKS or task not in INDEX:
        raise InputError(f"unknown task {task!r}; known: {', '.join(INDEX)}")
    if id in INDEX[task]:
        return _ours(f"{__name__}.{task}.{id.replace('-', '_')}")
    foreign = _foreign(task)
    if id in foreign:
        return foreign[id]
    raise InputError(f"unknown {task} method {id!r}; known: {', '.join((*INDEX[task], *foreign))}")


def default(task: Task) -> str:
    """Return the id of a task's default method, or of the first that another package brings.

    Raises:
        InputError: no method of the task is installed.
    """
    ids = INDEX[task] or tuple(_foreign(task))
    if not ids:
        raise InputError(f"no {task} method is installed")
    return ids[0]


def get_by_name(name: str) -> MethodSpec:
    """Return the method called ``TASK/ID``.

    Raises:
        InputError: not of that form, or unknown.
    """
    task, slash, id_ = name.partition("/")
    if not slash:
        raise InputError(f"method {name!r} is not of the form TASK/ID, as in interpolate/emsynth")
    return get(task, id_)


def all_methods(task: str | None = None) -> list[MethodSpec]:
    """Return every method, or those of one task; ours first, the default of each task at the front."""
    if task is not None and task not in INDEX:
        raise InputError(f"unknown task {task!r}; known: {', '.join(INDEX)}")
    specs = []
    for name, ids in INDEX.items():
        if task in (None, name):
            specs += [get(name, id_) for id_ in ids]
            specs += [spec for id_, spec in _foreign(name).items() if id_ not in ids]
    return specs


class _Package(ModuleType):
    """Makes this package callable: it has the name of the public function ``napari_emsynth.methods(task)``."""

    def __call__(self, task: str | None = None) -> list[MethodSpec]:
        return all_methods(task)


sys.modules[__name__].__class__ = _Package
