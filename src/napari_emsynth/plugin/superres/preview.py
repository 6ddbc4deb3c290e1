"""A part of a section made finer, as a preview; free of Qt and napari, for a worker thread.

Law: what a preview shows is what a run gives there. Where damaged sections are to be detected, though, it looks for
them around the section on screen only: it has to be quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.superres.settings import SuperresSettings
from napari_emsynth.plugin.volume_task.preview import engine_request
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume


def superres_drawer(
    volume: Volume, settings: SuperresSettings, window: Window, runtime: Runtime, _more: Mapping[str, Any]
) -> Any:
    """Return what draws any box of the result.

    Raises:
        InputError: sections that are too small, weights of another factor, no such section.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods import default, get
    from napari_emsynth.methods.superres.job import Job
    from napari_emsynth.methods.superres.limits import check_factor, check_shape, weights_for
    from napari_emsynth.methods.superres.task import check_built

    spec = get("superres", settings.method or default("superres"))
    factor = check_factor(spec, settings.factor)
    check_shape(volume.shape)
    fitted = replace(settings, weights=weights_for(spec, settings.weights or None, factor) or "")
    request = engine_request(volume, fitted, spec.id, runtime)
    check_built(request, factor)
    looks_around = request.built().context > 0
    return Job.of(request, factor, misleading_near(volume, settings, window, runtime) if looks_around else ())


def misleading_near(
    volume: Volume, settings: SuperresSettings, window: Window, runtime: Runtime
) -> frozenset[int]:
    """Return the sections that are not to be looked at.

    Raises:
        InputError: no such section.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.superres.neighbours import misleading
    from napari_emsynth.trust.intact import left_out

    named = settings.options(volume.shape[0]).get("damaged")
    if named is not None:
        return frozenset(named)
    return misleading(left_out(volume, [window.section], runtime=runtime))
