"""Copy as code: the same repair in Python and as one line for a terminal.

Law: with the layer's file in place of the name that stands for it, both give the voxels the dock gave.
"""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from napari_emsynth.plugin.copy_as_code import code_text, flags, keywords, read_code
from napari_emsynth.plugin.restore.request import RestoreRequest
from napari_emsynth.volume import Volume

OUT = "restored.ome.tif"
STEP = "replaced.ome.tif"
MASK = "mask.tif"


def as_code(request: RestoreRequest, volume: Volume, path: str | None) -> str:
    """Return the text for the clipboard: Python, then a comment with the command line.

    Args:
        request: what was (or would be) done.
        volume: the layer's; its voxel size is stated.
        path: the layer's file, None when it has none.
    """
    drawn = [f"# export the painted mask to {MASK} first (same shape, non-zero = replace)"]
    return code_text(
        volume,
        path,
        partial(python_code, request, volume),
        partial(command_line, request, volume),
        drawn if request.regions else [],
    )


def python_code(request: RestoreRequest, volume: Volume, source: str) -> list[str]:
    """Return the lines of Python."""
    lines, start = read_code(volume, source), "volume"
    for options in request.steps():
        mask = [f"mask=es.read({MASK!r}, labels=True)"] if request.regions and not options.insert else []
        call = ", ".join([start, *mask, keywords(options, request.settings)])
        lines.append(f"result = es.interpolate({call})")
        start = "result.volume"
    return [*lines, f"es.write(result, {OUT!r})"]


def command_line(request: RestoreRequest, volume: Volume, source: str) -> str:
    """Return one line for a terminal; two commands when sections are both replaced and inserted."""
    commands, steps = [], request.steps()
    for n, options in enumerate(steps):
        out = OUT if n == len(steps) - 1 else STEP
        mask = ["--mask", MASK] if request.regions and not options.insert else []
        words = ["emsynth", "interpolate", str(Path(source)), out, *mask]
        commands.append(shlex.join([*words, *flags(options, request.settings, volume)]))
        source = out
    return " && ".join(commands)
