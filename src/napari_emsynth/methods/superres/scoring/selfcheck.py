"""The self-check of super-resolution: the user's own volume, its pixels made coarser and then finer again.

A method is worth having when it is nearer to the volume as it was than bicubic enlargement is. And how far it must be
moved to be consistent with what was acquired is measured on the volume itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.scoring import by_rival
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.limits import LEAST_EDGE
from napari_emsynth.methods.superres.reduction import reduced
from napari_emsynth.methods.superres.scoring.hidden import CALLED, hide
from napari_emsynth.metrics.image import coverage
from napari_emsynth.trust.intact import nearest_to_middle
from napari_emsynth.trust.selfcheck import Beside, beside

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, COUNT = 48, 3


@dataclass(frozen=True, kw_only=True)
class SelfCheck(Beside):
    """What was found on sections made coarser.

    Args:
        coverage90: share of pixels inside the stated 90 % interval; None when the method states none.
    """

    coverage90: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        covered = {} if self.coverage90 is None else {"coverage90": round(self.coverage90, 3)}
        return super().to_json() | covered


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
    job, baseline = hidden.job(request), hidden.job(by_rival(request, "bicubic"))
    covered, answers = [], []
    for section in hidden.sections:
        ours, truth = hidden.drawn(job, section), hidden.known(section)
        given = {"psnr": ours.values[0], **hidden.candidates(baseline, section)}
        answers.append((given, truth, hidden.peak))
        covered.append(coverage(truth.astype(np.float32), ours.values[0].astype(np.float32), ours.half[0]))
    psnr, candidates = beside(answers)
    return SelfCheck(
        psnr=psnr,
        candidates=candidates,
        n=len(covered),
        called=CALLED,
        coverage90=float(np.mean(covered)) if request.spec.has_uncertainty else None,
    )


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
