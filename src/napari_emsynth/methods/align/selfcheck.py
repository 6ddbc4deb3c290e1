"""The self-check of alignment: do neighbours lie better on each other, and does it undo a known jitter?

Neighbours are compared by their chunked Pearson correlation, which smooth sections win too; therefore the middle of
the user's own volume is also jittered by known shifts and aligned, which must bring it nearer to what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from napari_emsynth.methods.align.jitter import jitter
from napari_emsynth.methods.request import Request
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.registration import stack_cpc
from napari_emsynth.volume import Volume

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, DEPTH = 256, 24
SIGMA_PX = 1.0
# Sections smaller than this hold no structure to be compared.
SMALLEST_EDGE = 16
# A perfect answer (a constant volume) is reported as 99 dB: infinity is no JSON number.
PERFECT = 99.0


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What was found on ``n`` sections from the middle of the volume.

    Args:
        cpc_before: mean chunked Pearson correlation of neighbours as they are.
        cpc_after: the same when aligned.
        psnr_jittered: dB of the jittered sections against the unjittered ones.
        psnr_aligned: the same when the jittered sections were aligned.
        n: sections.
    """

    cpc_before: float
    cpc_after: float
    psnr_jittered: float
    psnr_aligned: float
    n: int

    @property
    def beats_floors(self) -> bool:
        """True when aligning brings jittered sections nearer to the truth."""
        return self.psnr_aligned >= self.psnr_jittered

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "n"}
        rounded = {name: round(value, 4) for name, value in figures.items()}
        return rounded | {"beats_floors": self.beats_floors, "n": self.n}


def check(request: Request) -> SelfCheck | None:
    """Align the middle of the volume, as it is and jittered by a known amount.

    Returns:
        None when the sections are too small to be compared.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    if min(request.volume.shape[1:]) < SMALLEST_EDGE:
        return None
    known = jitter(request.volume, SIGMA_PX, request.runtime.seed, edge=EDGE, depth=DEPTH)
    truth = known.inner(known.whole)
    straight = known.inner(known.aligned(request, Volume.of(known.whole)))
    mended = known.inner(known.aligned(request))
    return SelfCheck(
        cpc_before=stack_cpc(truth),
        cpc_after=stack_cpc(straight),
        psnr_jittered=min(psnr(known.inner(known.volume.data), truth, known.peak), PERFECT),
        psnr_aligned=min(psnr(mended, truth, known.peak), PERFECT),
        n=len(truth),
    )
