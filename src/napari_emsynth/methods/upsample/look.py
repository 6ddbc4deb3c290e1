"""The natural look of an upsampled volume: its new sections as sharp as the acquired ones.

Under point sampling new sections lie between acquired ones, and should have their spectrum; so the spectra of a few new
sections, of the acquired ones next to them, and of what these show more are all that is measured
(:mod:`napari_emsynth.trust.look`); the grain of a new section is that of the acquired one nearest to it. Under slab
sampling nobody has seen a thin section: the volume is made coarser by the same factor and divided again, and what
differs within a slab is amplified until its sections have the spectrum that they had. The same gain is taken for what
is thinner still; slab means stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import weights_record
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.scoring.hidden import hide
from napari_emsynth.options import LookName
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.look import SMALLEST, Hidden, Look, spectral_look, within_look
from napari_emsynth.trust.remembered import of_the_whole

# Sections that are measured, their edge in px, and sections read for hiding some.
SECTIONS, EDGE, DEPTH = 6, 256, 24


def looked(job: Job, look: LookName, unfit: Collection[int] = ()) -> Job:
    """Return a job whose sections have the look that was asked for; as it is where the volume is too small to tell.

    Args:
        job: on a volume whose damaged sections are repaired.
        look: "accurate" or "natural".
        unfit: sections that are damaged, or were repaired.

    Raises:
        Cancelled: after the request's ``runtime.cancel``.
    """
    if look == "accurate":
        return job
    request, lattice = job.request, job.lattice
    asked = json.dumps([request.method, request.params.to_json(), weights_record(request.spec, request.weights)])
    key = (asked, request.runtime.seed, lattice.factor, lattice.sampling, job.blend_weight, tuple(sorted(unfit)))
    # In a list: None is an answer too, and is not asked for again.
    (found,) = of_the_whole(request.volume, "look", key, lambda: [_measured(job, unfit)])
    return replace(job, look=found)


def _measured(job: Job, unfit: Collection[int]) -> Look | None:
    request = job.request
    if min(request.volume.shape[1:]) < SMALLEST:
        return None
    if job.lattice.sampling == "point":
        return spectral_look(_between(job, unfit, request.runtime))
    hidden = hide(request.volume, job.lattice.factor, "slab", edge=EDGE, depth=DEPTH, unfit=unfit)
    if hidden is None:
        return None
    coarse = hidden.job(request)
    divided = coarse.norm.forward(hidden.drawn(coarse)[0])
    return within_look(
        [
            Hidden(
                mean=divided[j],
                truth=coarse.norm.forward(hidden.truth[j]),
                neighbour=coarse.norm.forward(hidden.thin.section(hidden.lattice.nearest(j))),
            )
            for j in hidden.sections
        ]
    )


def _between(job: Job, unfit: Collection[int], runtime: Runtime) -> list[Hidden]:
    """Return some new sections, whose truth is that acquired ones look alike."""
    lattice, volume = job.lattice, job.request.volume
    y, x = (middle(n, EDGE) for n in volume.shape[1:])
    made = [j for j in lattice.sections if job.kept(j) is None and lattice.nearest(j) not in unfit]
    found = []
    for k in np.unique(np.linspace(0, len(made) - 1, SECTIONS + 2)[1:-1].round().astype(int)) if made else ():
        runtime.cancel.check()
        nearest = lattice.nearest(made[k])
        acquired = job.shown(slice(nearest, nearest + 1), y, x)[0]
        mean = job.guess(range(made[k], made[k] + 1), y, x, runtime).mean[0]
        found.append(Hidden(mean=mean, truth=acquired, neighbour=acquired))
    return found
