"""A few sections of a stack aligned on their own, as a preview; free of Qt and napari, for a worker thread.

Law: what is limited, kept or left out in a run is so in the preview. It is not a part of what a run gives, though:
there, all sections have their say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.layers.field_of_view import Window, around
from napari_emsynth.plugin.volume_task.preview import engine_request
from napari_emsynth.plugin.volume_task.run import task_function
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

# Displacements are found on more than is shown: the edges have little to go by.
EDGE = 384


def aligned_drawer(
    volume: Volume, settings: AlignSettings, window: Window, runtime: Runtime, more: Mapping[str, Any]
) -> Callable[[tuple[slice, slice, slice], Runtime], Array]:
    """Return what draws any box inside a window, whose sections are aligned first if the method displaces.

    Args:
        volume: the layer's.
        settings: what and how.
        window: sections, rows and columns.
        runtime: device, progress, cancel.
        more: keyword arguments of ``align`` that come from other layers.

    Raises:
        InputError: bad input.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods import default
    from napari_emsynth.methods.align.job import Job
    from napari_emsynth.methods.align.task import check_sections

    request = engine_request(volume, settings, settings.method or default("align"), runtime)
    check_sections(request)
    if request.spec.answers != "displacement":
        return Job.of(request)
    part = (
        window.sections,
        around(window.row, max(EDGE, _length(window.rows)), volume.shape[1]),
        around(window.column, max(EDGE, _length(window.columns)), volume.shape[2]),
    )
    inside = settings.within(window.sections, volume.shape[0])
    result = task_function(settings)(
        cut(volume, part),
        **inside.options(_length(window.sections)),
        **{name: cut(other, part) for name, other in more.items()},
        **({"method": settings.method} if settings.method else {}),
        weights=settings.weights or None,
        params=dict(settings.params),
        runtime=runtime,
        selfcheck=False,
    )

    def draw(box: tuple[slice, slice, slice], _runtime: Runtime) -> Array:
        z, y, x = (slice(b.start - p.start, b.stop - p.start) for b, p in zip(box, part, strict=True))
        return result.volume.read(z, y, x)

    return draw


def cut(volume: Volume, part: tuple[slice, slice, slice]) -> Volume:
    """Return a part of a volume, read into memory."""
    return Volume.of(volume.read(*part), voxel_nm=volume.grid.voxel_nm, name=volume.name)


def _length(part: slice) -> int:
    return int(part.stop - part.start)
