"""Repair volume electron microscopy: the public Python API.

>>> import napari_emsynth as es
>>> volume = es.read("stack.tif", voxel_nm=(28, 11.24, 11.24))
>>> result = es.interpolate(volume, sections=[37])
>>> isotropic = es.upsample(volume, 2)
>>> es.write(result, "mended.ome.zarr")

Conventions: order is z, y, x; lengths are nm. The table below is all that is written here: what a function is given is
said where the function is. Law: importing this module loads neither torch, nor Qt, nor
napari, nor numpy; each name brings what it needs when it is first used. It says how threads are to wait for each other,
unless the user did (:mod:`napari_emsynth.waiting`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_emsynth.waiting import wait_asleep

if TYPE_CHECKING:
    from napari_emsynth.errors import Cancelled, InputError
    from napari_emsynth.fields.algebra import compose, inverse as invert
    from napari_emsynth.fields.apply import applied as apply_field
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.fields.points import moved_points as move_points
    from napari_emsynth.grid import Grid
    from napari_emsynth.io import read, write
    from napari_emsynth.io.fields import read_field, write_field
    from napari_emsynth.io.patch import Patch, apply_patch, patched, read_patch, undo_patch, write_patch
    from napari_emsynth.methods import all_methods as methods
    from napari_emsynth.methods.align.task import align
    from napari_emsynth.methods.evaluate import evaluate
    from napari_emsynth.methods.interpolate.task import interpolate
    from napari_emsynth.methods.superres.task import superresolve
    from napari_emsynth.methods.train import train
    from napari_emsynth.methods.upsample.task import upsample
    from napari_emsynth.options import Options
    from napari_emsynth.params import Params
    from napari_emsynth.spec import CancelToken, MethodSpec, Result, Runtime
    from napari_emsynth.trust.detect import Survey, Suspect, detect, survey
    from napari_emsynth.volume import Known, Volume

__all__ = [
    "CancelToken", "Cancelled", "Displacement", "Grid", "InputError", "Known", "MethodSpec", "Options", "Params",
    "Patch", "Result", "Runtime", "Survey", "Suspect", "Volume", "__version__", "align", "apply_field",
    "apply_patch", "compose", "detect", "evaluate", "interpolate", "invert", "methods", "move_points", "patched",
    "read", "read_field", "read_patch", "superresolve", "survey", "train", "undo_patch", "upsample", "write",
    "write_field", "write_patch",
]  # fmt: skip

# It must be said before torch is first imported.
wait_asleep()

# Name -> the module it lives in, with its name there where that differs. ``methods`` is both: the package, which lists
# its methods when it is called.
_HOMES = {
    "CancelToken": "spec",
    "Cancelled": "errors",
    "Displacement": "fields.displacement",
    "Grid": "grid",
    "InputError": "errors",
    "Known": "volume",
    "MethodSpec": "spec",
    "Options": "options",
    "Params": "params",
    "Patch": "io.patch",
    "Result": "spec",
    "Runtime": "spec",
    "Survey": "trust.detect",
    "Suspect": "trust.detect",
    "Volume": "volume",
    "align": "methods.align.task",
    "apply_field": "fields.apply:applied",
    "apply_patch": "io.patch",
    "compose": "fields.algebra",
    "detect": "trust.detect",
    "evaluate": "methods.evaluate",
    "interpolate": "methods.interpolate.task",
    "invert": "fields.algebra:inverse",
    "move_points": "fields.points:moved_points",
    "patched": "io.patch",
    "read": "io",
    "read_field": "io.fields",
    "read_patch": "io.patch",
    "superresolve": "methods.superres.task",
    "survey": "trust.detect",
    "train": "methods.train",
    "undo_patch": "io.patch",
    "upsample": "methods.upsample.task",
    "write": "io",
    "write_field": "io.fields",
    "write_patch": "io.patch",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("napari-emsynth")
    if name == "methods":
        return import_module("napari_emsynth.methods")
    if name in _HOMES:
        module, _, there = _HOMES[name].partition(":")
        value = getattr(import_module(f"napari_emsynth.{module}"), there or name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
