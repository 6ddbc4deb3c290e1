"""Copy as code for a task on a whole volume: Python, and the one line that does the same in a terminal."""

from __future__ import annotations

import shlex
from pathlib import Path

from napari_emsynth.plugin.code import flags, keywords, read_code, slug
from napari_emsynth.plugin.volume_settings import VolumeSettings
from napari_emsynth.volume import Volume


def volume_code(settings: VolumeSettings, volume: Volume, path: str | None) -> str:
    """Return the text for the clipboard.

    Args:
        settings: what was (or would be) done.
        volume: the layer's; its voxel size is stated.
        path: the layer's file, None when it has none.
    """
    source = path or f"{slug(volume.name)}.tif"
    notes = [] if path else [f"# export layer {volume.name!r} to {source} first"]
    options = [f"{name}={value!r}" for name, value in settings.options().items()]
    call = ", ".join(part for part in ["volume", *options, keywords(settings)] if part)
    python = [
        *read_code(volume, source),
        f"result = es.{settings.task}({call})",
        f"es.write(result, {out_name(settings)!r})",
    ]
    command = volume_command(settings, volume, source)
    return "\n".join([*notes, *python, "", "# the same in a terminal:", f"# {command}", ""])


def volume_command(settings: VolumeSettings, volume: Volume, source: str) -> str:
    """Return one line for a terminal."""
    words = ["emsynth", settings.task, str(Path(source)), out_name(settings)]
    return shlex.join([*words, *settings.flags(), *flags(settings, volume)])


def out_name(settings: VolumeSettings) -> str:
    """Return the name of the file that both write."""
    return f"{slug(settings.done)}.ome.tif"
