"""The self-check of super-resolution: the user's own volume, its pixels made coarser and then finer again.

A method is worth having when it is nearer to the volume as it was than bicubic enlargement is. And how far it must be
moved to be consistent with what was acquired is measured on the volume itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.limits import LEAST_EDGE
from napari_emsynth.methods.superres.reduction import reduced, repeated
from napari_emsynth.methods.superres.scoring.hidden import hide
from napari_emsynth.metrics.image import coverage
from napari_emsynth.params import Params
from napari_emsynth.trust.intact import nearest_to_middle
from napari_emsynth.trust.selfcheck import told_psnr

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, COUNT = 48, 3
# What advice calls the floor that leaves pixels as they are.
PIXELS = "pixels_as_they_are"


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """How the method fares on ``n`` sections made coarser.

    Args:
        psnr: of the method, dB.
        bicubic: of bicubic enlargement.
        nearest: of pixels as they are.
        n: sections.
        coverage90: share of pixels inside the stated 90 % interval; None when the method states none.
    """

    psnr: float
    bicubic: float
    nearest: float
    n: int
    coverage90: float | None = None

    @property
    def floors(self) -> dict[str, float]:
        """What needs no model, by name, and its PSNR."""
        return {"bicubic": self.bicubic, PIXELS: self.nearest}

    @property
    def beats_floors(self) -> bool:
        """True when the method is at least as good as both floors."""
        return self.psnr >= max(self.floors.values())

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        scores = {name: round(getattr(self, name), 4) for name in ("psnr", "bicubic", "nearest")}
        covered = {} if self.coverage90 is None else {"coverage90": round(self.coverage90, 3)}
        return scores | {"beats_floors": self.beats_floors, "n": self.n} | covered


def check(request: Request, factor: int, damaged: Collection[int] = ()) -> SelfCheck | None:
    """Repeat the job on the middle of the volume, made coarser by the same factor.

    Args:
        request: the job's.
        factor: the job's.
        damaged: sections that are no truth, and are not seen as neighbours.

    Returns:
        None when the coarser volume would be smaller than a patch.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    hidden = hide(request, factor, edge=EDGE, count=COUNT, least=LEAST_EDGE, damaged=damaged)
    if hidden is None:
        return None
    job, floor = hidden.job(request), hidden.job(floor_of(request))
    scores: dict[str, list[float]] = {"psnr": [], "bicubic": [], "nearest": []}
    covered = []
    for section in hidden.sections:
        truth = hidden.truth[section]
        ours = hidden.drawn(job, section)
        answers = {
            "psnr": ours.values[0],
            "bicubic": hidden.drawn(floor, section).values[0],
            "nearest": repeated(hidden.coarse.section(section), factor),
        }
        for name, answer in answers.items():
            scores[name].append(told_psnr(answer, truth, hidden.peak))
        covered.append(coverage(truth.astype(np.float32), ours.values[0].astype(np.float32), ours.half[0]))
    return SelfCheck(
        **{name: float(np.mean(s)) for name, s in scores.items()},
        n=len(covered),
        coverage90=float(np.mean(covered)) if request.spec.has_uncertainty else None,
    )


def floor_of(request: Request) -> Request:
    """Return the same request of bicubic enlargement."""
    return replace(request, method="bicubic", params=Params(), weights=None)


def residual(job: Job, damaged: Collection[int] = ()) -> dict[str, float]:
    """Return how far off the means of the method's answer are on the middle of the volume, in source units.

    Args:
        job: draws the answer.
        damaged: sections that it is not measured on, as long as there are others.

    Returns:
        ``before``: root mean square over acquired pixels, before the answer is moved; ``after``: the largest error,
        after it was moved and rounded.
    """
    count, *shape = job.request.volume.shape
    z = (nearest_to_middle(count, 1, damaged) or nearest_to_middle(count, 1))[0]
    y, x = (middle(n, EDGE) for n in shape)
    drawn = job.drawn((slice(z, z + 1), y, x), job.request.runtime)
    acquired = job.request.volume.section(z, y, x).astype(np.float64)
    after = np.abs(reduced(drawn.values[0], job.factor) - acquired)
    known = after[np.isfinite(after)]
    return {
        "before": round(float(np.sqrt((drawn.residual.astype(np.float64) ** 2).mean())), 6),
        "after": round(float(known.max()), 6) if known.size else 0.0,
    }
