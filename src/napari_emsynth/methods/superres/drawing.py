"""Super-resolution, prepared to draw any box.

Law: what is drawn is what a run gives there. Where damaged sections are to be detected, though, they are looked for
around the box that is looked at.
"""

from __future__ import annotations

from napari_emsynth.methods import default, get
from napari_emsynth.methods.drawing import Box, Drawing
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.limits import check_shape, weights_for
from napari_emsynth.methods.superres.neighbours import misleading
from napari_emsynth.methods.superres.options import SuperresOptions
from napari_emsynth.methods.superres.task import check_built
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import left_out
from napari_emsynth.volume import Volume


def prepare(volume: Volume, options: SuperresOptions, runtime: Runtime, *, around: Box | None = None) -> Drawing:
    """Return what draws any box of the result, see :func:`napari_emsynth.methods.drawing.prepare`."""
    spec = get("superres", options.method or default("superres"))
    grid = spec.grid(volume.grid, options)
    check_shape(volume.shape)
    weights = weights_for(spec, options.weights, options.factor)
    request = Request.of("superres", volume, spec.id, weights=weights, params=options.params, runtime=runtime)
    check_built(request, options.factor)
    named = options.listed("damaged", volume.shape[0])
    if named is None and request.built().context:
        z = None if around is None else range(around[0].start, around[0].stop)
        named = tuple(misleading(left_out(volume, z, runtime=runtime)))
    job = Job.of(request, options.factor, named or ())
    pixels = options.factor * request.built().halo
    return Drawing(grid, job, (0, pixels, pixels))
