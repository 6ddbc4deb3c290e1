"""Copy as code: the same repair in Python and as one line for a terminal.

Law: with the layer's file in place of the name that stands for it, both give the voxels the dock gave.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from napari_emsynth.plugin.restore.request import Request, Settings
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.sections import spans
from napari_emsynth.volume import Volume

OUT = "restored.ome.tif"
STEP = "replaced.ome.tif"
MASK = "mask.tif"
RUNTIME = ("device", "precision", "seed")
LOOK = ("look",)


def source_path(layer: Any) -> str | None:
    """Return the file a layer was read from, None when it came from elsewhere."""
    if "path" in layer.metadata:
        return str(layer.metadata["path"])
    return None if layer.source.path is None else str(layer.source.path)


def as_code(request: Request, volume: Volume, path: str | None) -> str:
    """Return the text for the clipboard: Python, then a comment with the command line.

    Args:
        request: what was (or would be) done.
        volume: the layer's; its voxel size is stated.
        path: the layer's file, None when it has none.
    """
    source = path or f"{slug(volume.name)}.tif"
    notes = [] if path else [f"# export layer {volume.name!r} to {source} first"]
    if request.regions:
        notes.append(f"# export the painted mask to {MASK} first (same shape, non-zero = replace)")
    python = python_code(request, volume, source)
    return "\n".join(
        [*notes, *python, "", "# the same in a terminal:", f"# {command_line(request, volume, source)}", ""]
    )


def slug(name: str) -> str:
    """Return a file name made from a layer's name."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).split()) or "stack"


def changed(settings: MethodSettings, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings among ``names`` that are not at their default."""
    default = {f.name: f.default for f in fields(settings) if f.name in names}
    given = {name: getattr(settings, name) for name in names if name in default}
    return {name: value for name, value in given.items() if value != default[name]}


def keywords(settings: MethodSettings) -> str:
    """Return what every call is given, whatever its task: method, weights, parameters, runtime."""
    words = {"method": settings.method} if settings.method else {}
    if settings.weights:
        words["weights"] = settings.weights
    if settings.params:
        words["params"] = dict(settings.params)  # type: ignore[assignment]
    words |= changed(settings, RUNTIME)
    if settings.tile:
        words["tile"] = settings.tile  # type: ignore[assignment]
    if not settings.selfcheck:
        words["selfcheck"] = False  # type: ignore[assignment]
    return said(words)


def said(words: Mapping[str, Any]) -> str:
    """Return keyword arguments as Python has them."""
    return ", ".join(f"{name}={value!r}" for name, value in words.items())


def read_code(volume: Volume, source: str) -> list[str]:
    """Return the lines of Python that read a file as ``volume``."""
    voxel = volume.grid.voxel_nm
    size = f", voxel_nm={tuple(round(v, 6) for v in voxel)!r}" if voxel else ""
    return ["import napari_emsynth as es", "", f"volume = es.read({source!r}{size})"]


def python_code(request: Request, volume: Volume, source: str) -> list[str]:
    """Return the lines of Python."""
    lines = read_code(volume, source)
    own = said(changed(request.settings, LOOK))
    words, start = ", ".join(part for part in (own, keywords(request.settings)) if part), "volume"
    if request.sections or request.regions:
        sections = [f"sections={list(request.sections)!r}"] if request.sections else []
        mask = [f"mask=es.read({MASK!r})"] if request.regions else []
        lines.append(f"result = es.interpolate({', '.join([start, *sections, *mask, words])})")
        start = "result.volume"
    if request.inserts:
        lines.append(
            f"result = es.interpolate({start}, sections={list(request.inserts)!r}, insert=True, {words})"
        )
    return [*lines, f"es.write(result, {OUT!r})"]


def command_line(request: Request, volume: Volume, source: str) -> str:
    """Return one line for a terminal; two commands when sections are both replaced and inserted."""
    replaced, inserted = bool(request.sections or request.regions), bool(request.inserts)
    commands = []
    if replaced:
        words = ["--sections", spans(request.sections)] if request.sections else []
        words += ["--mask", MASK] if request.regions else []
        commands.append(_command(request.settings, volume, source, STEP if inserted else OUT, words))
    if inserted:
        words = ["--sections", ",".join(str(z) for z in sorted(request.inserts)), "--insert"]
        commands.append(_command(request.settings, volume, STEP if replaced else source, OUT, words))
    return " && ".join(commands)


def _command(settings: Settings, volume: Volume, source: str, out: str, what: list[str]) -> str:
    own = [word for name, value in changed(settings, LOOK).items() for word in (f"--{name}", value)]
    return shlex.join(
        ["emsynth", "interpolate", str(Path(source)), out, *what, *own, *flags(settings, volume)]
    )


def flags(settings: MethodSettings, volume: Volume) -> list[str]:
    """Return the words every command takes, whatever its task: method, weights, parameters, runtime, voxel size."""
    words = ["--method", settings.method] if settings.method else []
    if settings.weights:
        words += ["--weights", settings.weights]
    for name, value in settings.params.items():
        flag = name.replace("_", "-")
        words += (
            [f"--{flag}" if value else f"--no-{flag}"]
            if isinstance(value, bool)
            else [f"--{flag}", f"{value}"]
        )
    for name, value in changed(settings, RUNTIME).items():
        words += [f"--{name}", f"{value}"]
    if settings.tile:
        words += ["--tile", str(settings.tile)]
    if volume.grid.voxel_nm:
        words += ["--voxel-size", ",".join(f"{v:g}" for v in volume.grid.voxel_nm)]
    return words
