"""The self-check of upsampling: every k-th section of the user's own volume is kept, the others are made up again.

A method is worth having when it is nearer to the hidden sections than linear interpolation is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.hidden import hide
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.metrics.image import psnr
from napari_emsynth.params import Params

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, DEPTH = 256, 24
# A perfect answer (a constant volume) is reported as 99 dB: infinity is no JSON number.
PERFECT = 99.0


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """PSNR in dB on ``n`` hidden sections, of the method and of linear interpolation."""

    psnr: float
    linear: float
    n: int

    @property
    def beats_floors(self) -> bool:
        """True when the method is at least as good as linear interpolation."""
        return self.psnr >= self.linear

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        scores = {"psnr": round(self.psnr, 4), "linear": round(self.linear, 4)}
        return scores | {"beats_floors": self.beats_floors, "n": self.n}


def check(request: Request, lattice: Lattice) -> SelfCheck | None:
    """Repeat the job on the middle of the volume, made coarser by the same (whole) factor.

    Returns:
        None when the volume has too few sections to hide any.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    # A fractional factor is checked at the next whole one, which is no easier.
    factor = math.ceil(lattice.factor)
    hidden = hide(request.volume, factor, lattice.sampling, edge=EDGE, depth=DEPTH)
    if hidden is None:
        return None
    ours = request.on(hidden.thin)
    floor = replace(ours, method="linear", params=Params(), weights=None)
    truth = hidden.truth[hidden.sections]
    scores = [
        min(psnr(hidden.upsampled(asked)[hidden.sections], truth, hidden.peak), PERFECT)
        for asked in (ours, floor)
    ]
    return SelfCheck(psnr=scores[0], linear=scores[1], n=len(hidden.sections))
