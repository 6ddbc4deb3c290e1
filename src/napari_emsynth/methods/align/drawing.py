"""Alignment, prepared to draw any box.

Law: what is limited, kept or left out in a run is so here. Where only a box is looked at, though, its sections are
aligned on their own: that is no part of what a run gives, where all sections have their say.
"""

from __future__ import annotations

from typing import Any

from napari_emsynth.methods import default, get
from napari_emsynth.methods.align.job import Job
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.methods.align.task import align, check_sections
from napari_emsynth.methods.drawing import Box, Drawing
from napari_emsynth.methods.request import Request
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

# Displacements are found on more than is looked at, in px: the edges have little to go by.
EDGE = 384


def prepare(
    volume: Volume,
    options: AlignOptions,
    runtime: Runtime,
    *,
    around: Box | None = None,
    materials: Volume | None = None,
) -> Drawing:
    """Return what draws any box of the result, see :func:`napari_emsynth.methods.drawing.prepare`."""
    method = options.method or default("align")
    grid = get("align", method).grid(volume.grid, options)
    request = Request.of("align", volume, method, weights=options.weights, params=options.params, runtime=runtime)
    check_sections(request)
    if request.spec.answers != "displacement":
        return Drawing(grid, Job.of(request))
    part = _widened(around, volume.shape)
    given: dict[str, Any] = {} if materials is None else {"materials": materials.part(*part)}
    inside = options.within(part[0], volume.shape[0])
    result = align(volume.part(*part).in_memory(), options=inside, runtime=runtime, **given)

    def draw(box: Box, _runtime: Runtime) -> Array:
        z, y, x = (slice(b.start - p.start, b.stop - p.start) for b, p in zip(box, part, strict=True))
        return result.volume.read(z, y, x)

    return Drawing(grid, draw)


def _widened(around: Box | None, shape: tuple[int, int, int]) -> Box:
    """Return a box with its rows and columns widened to what displacements are found on; the whole for None."""
    if around is None:
        z, y, x = (slice(0, n) for n in shape)
        return z, y, x
    rows, columns = (_around(s, n) for s, n in zip(around[1:], shape[1:], strict=True))
    return around[0], rows, columns


def _around(part: slice, length: int) -> slice:
    edge = min(length, max(EDGE, part.stop - part.start))
    start = min(max(0, (part.start + part.stop - edge) // 2), length - edge)
    return slice(start, start + edge)
