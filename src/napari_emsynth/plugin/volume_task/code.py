"""Copy as code for a task on a whole volume: Python, and the one line that does the same in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_emsynth.methods.tasks import name_of
from napari_emsynth.plugin.copy_as_code import code_text, flags, keywords, read_code, slug, source_path
from napari_emsynth.plugin.layers.convert import type_of
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.volume import Volume


@dataclass(frozen=True, kw_only=True)
class More:
    """What a task's code has beside settings and volume, because other layers take part.

    Args:
        notes: comments, what must be done first.
        before: lines of Python, after the volume was read.
        given: to the task's function, as code.
        arguments: of the task's function, as code.
        lines: of Python, after the result was written.
        words: of the command.
    """

    notes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    given: str = "volume"
    arguments: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def volume_code(settings: VolumeSettings, volume: Volume, path: str | None, more: More = More()) -> str:
    """Return the text for the clipboard.

    Args:
        settings: what was (or would be) done.
        volume: the layer's; its voxel size is stated.
        path: the layer's file, None when it has none.
        more: of other layers.

    Raises:
        InputError: sections that the volume does not have.
    """
    settings.asked().check_sections(volume.shape[0])
    call = ", ".join(part for part in [more.given, *more.arguments, keywords(settings.asked(), settings)] if part)

    def python(source: str) -> list[str]:
        return [
            *read_code(volume, source),
            *more.before,
            f"result = es.{name_of(settings.task)}({call})",
            f"es.write(result, {out_name(settings)!r})",
            *more.lines,
        ]

    return code_text(volume, path, python, lambda source: volume_command(settings, volume, source, more), more.notes)


def volume_command(settings: VolumeSettings, volume: Volume, source: str, more: More = More()) -> str:
    """Return one line for a terminal."""
    words = ["emsynth", settings.task, str(Path(source)), out_name(settings)]
    return shlex.join([*words, *flags(settings.asked(), settings, volume), *more.words])


def out_name(settings: VolumeSettings) -> str:
    """Return the name of the file that both write."""
    return f"{slug(settings.done)}.ome.tif"


def linked_code(layers: Iterable[Any], done: str) -> More:
    """Return the code of layers that follow a result; those that are in no file are to be exported first.

    Args:
        layers: images, which are interpolated by cubics, or labels, which keep their ids.
        done: what becomes of them, for the names of files.
    """
    notes, lines, words = [], [], []
    for layer in layers:
        source, out = source_path(layer) or f"{slug(layer.name)}.tif", f"{slug(layer.name)}_{done}.ome.tif"
        if source_path(layer) is None:
            notes.append(f"# export layer {layer.name!r} to {source} first")
        is_labels = type_of(layer) == "labels"
        along = f"es.read({source!r}, labels=True)" if is_labels else f'es.read({source!r}), "cubic"'
        lines.append(f"es.write(result.apply({along}), {out!r})")
        words += ["--apply-to" if is_labels else "--apply-to-image", f"{source}={out}"]
    return More(notes=tuple(notes), lines=tuple(lines), words=tuple(words))
