"""Interpolation, prepared to draw any box: sections that are asked for are made up as they are read."""

from __future__ import annotations

from dataclasses import replace

from napari_emsynth.methods.drawing import Box, Drawing
from napari_emsynth.methods.in_memory import by_section
from napari_emsynth.methods.interpolate.options import InterpolateOptions
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume


def prepare(
    volume: Volume,
    options: InterpolateOptions,
    runtime: Runtime,
    *,
    around: Box | None = None,  # noqa: ARG001 - damage is looked for around what is repaired anyway
    mask: Volume | Array | None = None,
) -> Drawing:
    """Return what draws any box of the result, see :func:`napari_emsynth.methods.drawing.prepare`."""
    quick = replace(options, selfcheck=False)
    result = interpolate(by_section(volume), options=quick, mask=mask, runtime=runtime)

    def draw(box: Box, _runtime: Runtime) -> Array:
        return result.volume.read(*box)

    return Drawing(result.volume.grid, draw)
