"""The self-check of upsampling: the user's own volume is made coarser, and upsampled again.

Twice, where a method can: along z, where every k-th section is kept (point) or k are averaged (slab), which tests the
whole at k times the distances it is used at; and in plane, rows posed as sections, which tests what reslices are made
of at the true distances. A method is worth having when it is nearer to what was hidden than linear interpolation is,
and, under slab sampling, than linear interpolation that was back-projected.

The errors also calibrate: the factor by which the predicted scales cover 90 % of them is the one used for the interval.
The in-plane test is preferred where voxels are longer than wide; then the distances are the true ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.hidden import Hidden, hide, hide_in_plane
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import ELONGATED, Lattice
from napari_emsynth.metrics.image import psnr
from napari_emsynth.params import Params
from napari_emsynth.trust.selfcheck import covering_factor
from napari_emsynth.volume import Array

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, DEPTH = 256, 24
# A perfect answer (a constant volume) is reported as 99 dB: infinity is no JSON number.
PERFECT = 99.0


@dataclass(frozen=True, kw_only=True)
class Scores:
    """PSNR in dB on ``n`` hidden sections.

    Args:
        psnr: of the method.
        linear: of linear interpolation.
        back_projected: of linear interpolation, back-projected; None under point sampling.
        n: hidden sections; in plane, rows.
        factor: from the method's scale to the half width that covers 90 % of the errors; None without a scale.
    """

    psnr: float
    linear: float
    back_projected: float | None
    n: int
    factor: float | None

    @property
    def floor(self) -> tuple[str, float]:
        """The best that needs no model, and its PSNR."""
        if self.back_projected is not None and self.back_projected > self.linear:
            return "linear, back-projected", self.back_projected
        return "linear", self.linear

    @property
    def beats_floors(self) -> bool:
        """True when the method is at least as good as every floor."""
        return self.psnr >= self.floor[1]

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        told = {"psnr": self.psnr, "linear": self.linear}
        if self.back_projected is not None:
            told["linear_back_projected"] = self.back_projected
        return {name: round(value, 4) for name, value in told.items()} | {
            "beats_floors": self.beats_floors,
            "n": self.n,
        }


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What was found along z, and in plane; None where that cannot be tested."""

    along: Scores | None
    in_plane: Scores | None

    def to_json(self) -> dict[str, Any] | None:
        """Return the scores along z, with those in plane under their name; None when nothing could be hidden."""
        if self.along is None:
            return None
        return self.along.to_json() | {"in_plane": None if self.in_plane is None else self.in_plane.to_json()}


def check(request: Request, lattice: Lattice) -> SelfCheck:
    """Repeat the job on the middle of the volume, made coarser by the same factor.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    hidden = hide(request.volume, _factor(lattice), lattice.sampling, edge=EDGE, depth=DEPTH)
    return SelfCheck(
        along=None if hidden is None else scored(request, hidden), in_plane=check_in_plane(request, lattice)
    )


def check_in_plane(request: Request, lattice: Lattice) -> Scores | None:
    """Do the same with rows posed as sections; None of methods that cannot, and of volumes with few rows."""
    if not hasattr(request.built(), "in_plane"):
        return None
    hidden = hide_in_plane(request.volume, _factor(lattice), lattice.sampling, edge=EDGE)
    return None if hidden is None else scored(request, hidden)


def _factor(lattice: Lattice) -> float:
    # Under point sampling a fractional factor is checked at the next whole one, which is no easier.
    return math.ceil(lattice.factor) if lattice.sampling == "point" else lattice.factor


def scored(request: Request, hidden: Hidden) -> Scores:
    """Upsample what was made coarser by the request's method and by the floors, and score them."""
    here = hidden.sections
    truth = hidden.truth[here]

    def near(answer: Array) -> float:
        return min(psnr(answer[here], truth, hidden.peak), PERFECT)

    job = replace(hidden.job(request), calibration=1.0)
    values, scale = hidden.drawn(job)
    floor = linear_job(hidden, request)
    return Scores(
        psnr=near(values),
        linear=near(hidden.guessed(floor)),
        back_projected=near(hidden.drawn(floor)[0]) if hidden.lattice.sampling == "slab" else None,
        n=len(here),
        factor=covering(values[here], truth, scale[here]) if request.spec.has_uncertainty else None,
    )


def linear_job(hidden: Hidden, request: Request) -> Job:
    """Return what upsamples the thin volume by linear interpolation."""
    method = replace(request, method="linear", params=Params(), weights=None)
    return replace(hidden.job(method), in_plane=False)


def covering(answer: Array, truth: Array, scale: Array) -> float | None:
    """Return the factor by which scales cover 90 % of the errors; None where nothing is wrong anywhere."""
    errors = answer.astype(np.float32) - truth.astype(np.float32)
    factor = covering_factor(errors, scale)
    return factor if errors.any() and math.isfinite(factor) else None


def calibration(job: Job, found: SelfCheck | None) -> tuple[float, str]:
    """Return the factor from scale to half width, and what it was measured on.

    Args:
        job: its own factor holds without a check.
        found: what the self-check found.
    """
    if found is None:
        return job.calibration, "weights"
    voxel_nm = job.request.volume.grid.voxel_nm
    longer = voxel_nm is not None and voxel_nm[0] >= ELONGATED * (voxel_nm[1] + voxel_nm[2]) / 2
    named = [("in plane", found.in_plane), ("hidden sections", found.along)]
    for name, scores in named if longer else reversed(named):
        if scores is not None and scores.factor is not None:
            return scores.factor, name
    return job.calibration, "weights"
