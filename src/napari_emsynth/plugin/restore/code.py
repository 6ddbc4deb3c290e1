"""Copy as code: the same repair in Python and as one line for a terminal.

Law: with the layer's file in place of the name that stands for it, both give the voxels the dock gave.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from napari_emsynth.plugin.copy_as_code import changed, flags, keywords, read_code, said, slug
from napari_emsynth.plugin.restore.request import Request, Settings
from napari_emsynth.sections import spans
from napari_emsynth.volume import Volume

OUT = "restored.ome.tif"
STEP = "replaced.ome.tif"
MASK = "mask.tif"
LOOK = ("look",)


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
