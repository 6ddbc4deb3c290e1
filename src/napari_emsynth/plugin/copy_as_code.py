"""What code that is copied says of any task: where a layer is read from, and how a method is run.

Law: with the layer's file in place of the name that stands for it, the code gives the voxels the dock gave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from qtpy.QtWidgets import QApplication

from napari_emsynth.options import Options
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.volume import Volume

RUNTIME = ("device", "precision", "seed")


def source_path(layer: Any) -> str | None:
    """Return the file a layer was read from, None when it came from elsewhere."""
    if "path" in layer.metadata:
        return str(layer.metadata["path"])
    return None if layer.source.path is None else str(layer.source.path)


def slug(name: str) -> str:
    """Return a file name made from a layer's name."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).split()) or "stack"


def changed(settings: MethodSettings, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings among ``names`` that are not at their default."""
    default = {f.name: f.default for f in fields(settings) if f.name in names}
    given = {name: getattr(settings, name) for name in names if name in default}
    return {name: value for name, value in given.items() if value != default[name]}


def keywords(options: Options, settings: MethodSettings) -> str:
    """Return what a call in Python is given: options and runtime, as far as they are not at their default."""
    tile = {"tile": settings.tile} if settings.tile else {}
    return said(options.keywords() | changed(settings, RUNTIME) | tile)


def said(words: Mapping[str, Any]) -> str:
    """Return keyword arguments as Python has them."""
    return ", ".join(f"{name}={value!r}" for name, value in words.items())


def read_code(volume: Volume, source: str) -> list[str]:
    """Return the lines of Python that read a file as ``volume``."""
    voxel = volume.grid.voxel_nm
    size = f", voxel_nm={tuple(round(v, 6) for v in voxel)!r}" if voxel else ""
    size += "".join(f", {what}={index}" for what, index in volume.metadata.get("chosen", {}).items())
    return ["import napari_emsynth as es", "", f"volume = es.read({source!r}{size})"]


def flags(options: Options, settings: MethodSettings, volume: Volume) -> list[str]:
    """Return the words that a command takes: options, the method's parameters, runtime, voxel size."""
    words = options.words()
    for name, value in settings.params.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", f"{value}"]
    for name, value in changed(settings, RUNTIME).items():
        words += [f"--{name}", f"{value}"]
    if settings.tile:
        words += ["--tile", str(settings.tile)]
    if volume.grid.voxel_nm:
        words += ["--voxel-size", ",".join(f"{v:g}" for v in volume.grid.voxel_nm)]
    for what, index in volume.metadata.get("chosen", {}).items():
        words += [f"--{what}", str(index)]
    return words


def code_text(
    volume: Volume,
    path: str | None,
    python: Callable[[str], Sequence[str]],
    command: Callable[[str], str],
    notes: Sequence[str] = (),
) -> str:
    """Return the text for the clipboard: what to do first, Python, and the one line for a terminal.

    Args:
        volume: the layer's; its voxel size is stated.
        path: the layer's file; a name stands for it where there is none.
        python: lines, given the file.
        command: the line for a terminal, given the file.
        notes: comments, what else must be done first.
    """
    source = path or f"{slug(volume.name)}.tif"
    first = [] if path else [f"# export layer {volume.name!r} to {source} first"]
    terminal = ["", "# the same in a terminal:", f"# {command(source)}", ""]
    return "\n".join([*first, *notes, *python(source), *terminal])


def to_clipboard(text: str | None) -> str | None:
    """Put code on the clipboard, say so, and return it; None when there is none."""
    if text is not None:
        QApplication.clipboard().setText(text)
        notify.info("copied: Python, and one line for a terminal")
    return text
