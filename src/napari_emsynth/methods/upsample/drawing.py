"""Upsampling, prepared to draw any box.

Law: what is drawn is what a run gives there, but for a network that the self-check of a run finds worth following part
of the way only: here it is followed all the way.
"""

from __future__ import annotations

from napari_emsynth.methods import get
from napari_emsynth.methods.drawing import Box, Drawing
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.look import looked
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.methods.upsample.repair import Damage, find_damage, mended
from napari_emsynth.methods.upsample.task import default_method
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.look import checked_look
from napari_emsynth.volume import Volume

# Sections on both sides of what is looked at in which damage is looked for, and needed to tell it.
AROUND = 8


def prepare(volume: Volume, options: UpsampleOptions, runtime: Runtime, *, around: Box | None = None) -> Drawing:
    """Return what draws any box of the result, see :func:`napari_emsynth.methods.drawing.prepare`."""
    lattice = options.lattice(volume.grid)
    method = options.method or default_method(lattice.factor, lattice.sampling)
    grid = get("upsample", method).grid(volume.grid, options)
    damage = damage_near(volume, options, runtime, around)
    request = Request.of(
        "upsample",
        mended(volume, damage, runtime),
        method,
        weights=options.weights,
        params=options.params,
        runtime=runtime,
    )
    job = looked(Job.of(request, lattice), checked_look(options.look), damage.unfit)
    return Drawing(grid, job, (job.halo, *job.lateral_halo))


def damage_near(volume: Volume, options: UpsampleOptions, runtime: Runtime, around: Box | None) -> Damage:
    """Return which sections are repaired first; where they are to be detected, those near a box.

    Raises:
        InputError: no such section, too few that are intact.
        Cancelled: after ``runtime.cancel``.
    """
    asked = options.listed("damaged", volume.shape[0])
    if asked is not None or around is None:
        return find_damage(volume, asked, runtime)
    first = max(0, around[0].start - AROUND)
    near = volume.part(slice(first, around[0].stop + AROUND))
    if near.shape[0] <= AROUND:
        return Damage({})
    found = find_damage(near, None, runtime)
    return Damage({first + z: why for z, why in found.why.items()}, found.found.shifted(first))
