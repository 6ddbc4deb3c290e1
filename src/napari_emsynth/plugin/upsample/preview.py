"""Sections between those in view, as a preview; free of Qt and napari, for a worker thread.

Law: what a preview shows is what a run gives there, but for a network that the self-check of the run finds worth
following part of the way only: a preview follows it all the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.layers.lazy import lazy
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.preview import engine_request
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

# Sections on both sides of a window in which damage is looked for, and needed to tell it.
AROUND = 8


def upsampled_drawer(
    volume: Volume, settings: UpsampleSettings, window: Window, runtime: Runtime, _more: Mapping[str, Any]
) -> Any:
    """Return what draws any box of the result.

    Raises:
        InputError: a factor that the method cannot do, too few sections, no such section.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods import get
    from napari_emsynth.methods.upsample.job import Job
    from napari_emsynth.methods.upsample.lattice import Lattice, check_factor, check_sections
    from napari_emsynth.methods.upsample.look import looked
    from napari_emsynth.methods.upsample.task import default_method
    from napari_emsynth.trust.look import checked_look

    mended = repaired(volume, settings, window, runtime)
    method = settings.method or default_method(settings.factor, settings.sampling)
    factor, sampling = check_factor(get("upsample", method), settings.factor, settings.sampling)
    check_sections(mended.shape[0])
    lattice = Lattice(mended.shape[0], factor, sampling)
    return looked(
        Job.of(engine_request(mended, settings, method, runtime), lattice), checked_look(settings.look)
    )


def repaired(volume: Volume, settings: UpsampleSettings, window: Window, runtime: Runtime) -> Volume:
    """Return a volume whose damaged sections are repaired as they are read.

    Where they are to be detected, this looks around the window only: a preview has to be quick.

    Raises:
        InputError: no such section, too few that are intact.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.upsample.repair import Damage, find_damage, mended

    asked = settings.options(volume.shape[0]).get("damaged")
    if asked is not None:
        return mended(volume, find_damage(volume, asked, runtime), runtime)
    first = max(0, window.sections.start - AROUND)
    data = volume.data if isinstance(volume.data, np.ndarray) else lazy(volume).data
    near = data[first : window.sections.stop + AROUND]
    found = find_damage(Volume.of(near), None, runtime) if near.shape[0] > AROUND else Damage({})
    why = {first + z: why for z, why in found.why.items()}
    return mended(volume, Damage(why, found.found.shifted(first)), runtime)
