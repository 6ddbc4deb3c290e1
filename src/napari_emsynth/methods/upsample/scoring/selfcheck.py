"""The self-check of upsampling: the user's own volume is made coarser, and upsampled again.

Twice, where a method can: along z, where every k-th section is kept (point) or k are averaged (slab), which tests the
whole at k times the distances it is used at; and in plane, rows posed as sections, which tests what reslices are made
of at the true distances. A method is worth having when it is nearer to what was hidden than linear interpolation is,
under slab sampling than linear interpolation that was back-projected, and than kriging.

The errors also calibrate: the factor by which the predicted scales cover 90 % of them is the one used for the interval.
The in-plane test is preferred where voxels are longer than wide; then the distances are the true ones.

And they decide how far a method is followed. With ``t`` what was hidden in plane, ``m`` the method's answer and ``l``
what it starts from (kriging, or linear interpolation), both back-projected, the share of the way from ``l`` to ``m``
that is gone is the best there ::

    departure = <t - l, m - l> / <m - l, m - l>,   kept within 0 and 1                          (1)

A network that is at home with a volume is followed all the way, and one that is not is never far below its start.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.grid import SAME
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.scoring import by_rival
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import ELONGATED, HIGHEST, LOWEST, Lattice, Sampling, elongation
from napari_emsynth.methods.upsample.scoring.hidden import Hidden, hide, hide_in_plane
from napari_emsynth.trust.selfcheck import Beside, covering_factor, told_psnr
from napari_emsynth.volume import Array

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, DEPTH = 256, 24


@dataclass(frozen=True, kw_only=True)
class Scores(Beside):
    """What was found on hidden sections.

    Args:
        factor: from the method's scale to the half width that covers 90 % of the errors; None without a scale.
        blend_weight: of (1), gone in ``psnr`` and ``factor``.
    """

    factor: float | None
    blend_weight: float = 1.0

    @property
    def linear(self) -> float:
        """PSNR of linear interpolation, dB."""
        return self.candidates["linear"]


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What was found along z, and in plane; None where that cannot be tested."""

    along: Scores | None
    in_plane: Scores | None

    @property
    def blend_weight(self) -> float:
        """How far the method is followed; all the way where nothing could be hidden in plane."""
        return 1.0 if self.in_plane is None else self.in_plane.blend_weight

    def to_json(self) -> dict[str, Any] | None:
        """Return the scores along z, with those in plane under their name; None when nothing could be hidden."""
        if self.along is None:
            return None
        return self.along.to_json() | {"in_plane": None if self.in_plane is None else self.in_plane.to_json()}


def check(request: Request, lattice: Lattice, unfit: Collection[int] = ()) -> SelfCheck:
    """Repeat the job on the middle of the volume, made coarser by the same factor.

    Args:
        request: the job's, on a volume whose damaged sections are repaired.
        lattice: the job's.
        unfit: sections that are damaged, or were repaired: no truth.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    in_plane = check_in_plane(request, lattice, unfit)
    found = SelfCheck(along=None, in_plane=in_plane)
    hidden = hide(
        request.volume, _factor(lattice.factor, lattice.sampling), lattice.sampling, edge=EDGE, depth=DEPTH, unfit=unfit
    )
    return found if hidden is None else replace(found, along=scored(request, hidden, found.blend_weight))


def check_in_plane(request: Request, lattice: Lattice, unfit: Collection[int] = ()) -> Scores | None:
    """Do the same with rows posed as sections; None of methods that cannot, and of volumes with few rows.

    Rows are as far apart as sections are, where that is known: what is easy at one distance is hard at another.
    """
    if not hasattr(request.built(), "in_plane"):
        return None
    sampling, longer = lattice.sampling, elongation(request.volume.grid)
    factor = longer if longer is not None and LOWEST <= longer <= HIGHEST else lattice.factor
    hidden = hide_in_plane(request.volume, _factor(factor, sampling), sampling, edge=EDGE, unfit=unfit)
    return None if hidden is None else scored(request, hidden)


def _factor(factor: float, sampling: Sampling) -> float:
    # Under point sampling a fractional factor is checked at the next whole one, which is no easier.
    return min(HIGHEST, math.ceil(factor - SAME)) if sampling == "point" else factor


def scored(request: Request, hidden: Hidden, blend_weight: float | None = None) -> Scores:
    """Upsample what was made coarser by the request's method and by the floors, and score them.

    Args:
        request: whose method is asked.
        hidden: what was made coarser.
        blend_weight: how far the method is followed; None finds out, (1).
    """
    here = hidden.sections
    truth = hidden.scored(hidden.truth)

    def near(answer: Array) -> float:
        return told_psnr(hidden.scored(answer), truth, hidden.peak)

    job = replace(hidden.job(request), calibration=1.0, blend_weight=1.0 if blend_weight is None else blend_weight)
    values, scale = hidden.drawn(job)
    baseline = hidden.job(by_rival(request, "linear"))
    linear, slab = hidden.drawn(baseline)[0], hidden.lattice.sampling == "slab"
    kriging = values if request.method == "kriging" else drawn_by(hidden, request, "kriging")
    if blend_weight is None:
        start = (kriging if job.start == "kriging" else linear).astype(np.float32)
        blend_weight = followed(hidden.scored(values), hidden.scored(start), truth)
        values = start + blend_weight * (values.astype(np.float32) - start)
    candidates = {"linear": near(hidden.guessed(baseline) if slab else linear)}
    if slab:
        candidates["linear_back_projected"] = near(linear)
    if request.method != "kriging":
        candidates["kriging"] = near(kriging)
    return Scores(
        psnr=near(values),
        candidates=candidates,
        n=len(here),
        called=hidden.called,
        factor=covering(hidden.scored(values), truth, hidden.scored(scale)) if request.spec.has_uncertainty else None,
        blend_weight=blend_weight,
    )


def followed(answer: Array, start: Array, truth: Array) -> float:
    """Return (1) of three arrays of one shape; 1 where answer and start are the same."""
    wanted, gone = (a.astype(np.float64) - start for a in (truth, answer))
    square = (gone**2).sum()
    return float(np.clip((wanted * gone).sum() / square, 0, 1)) if square > 0 else 1.0  # (1)


def drawn_by(hidden: Hidden, request: Request, method: str) -> Array:
    """Return [z, y, x] the thin volume upsampled by a method that needs no model."""
    return hidden.drawn(hidden.job(by_rival(request, method)))[0]


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
    longer = elongation(job.request.volume.grid)
    named = [("in plane", found.in_plane), ("hidden sections", found.along)]
    for name, scores in named if longer is not None and longer >= ELONGATED else reversed(named):
        if scores is not None and scores.factor is not None:
            return scores.factor, name
    return job.calibration, "weights"
