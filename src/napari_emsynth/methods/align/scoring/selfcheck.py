"""The self-check of alignment: do neighbours lie better on each other, and does it undo a known distortion?

Neighbours are compared by their chunked Pearson correlation, which smooth sections win too; therefore the middle of
the user's own volume is also moved by known displacements and aligned, which must bring it back. A method that redraws
must bring its voxels nearer to what they were. One that answers with displacements is asked twice, about the sections
as they are (``u_0``) and moved by ``k`` (``u_k``); what is left of the known displacement is::

    r_z(p) = u_k(p) + k_z(p + u_k(p)) - u_0(p)                                 (1)
    EPE = mean |r - G * r|                                                     (2)

with ``G`` the Gaussian of :func:`napari_emsynth.metrics.registration.stack_residual`. So the stack's own jitter, which
both answers take out, is no error.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.scoring.jitter import Jittered, distort, jitter
from napari_emsynth.methods.align.stack.alignment import Alignment
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.straighten import Straight, straightened
from napari_emsynth.methods.request import Request
from napari_emsynth.metrics.registration import folds, stack_cpc, stack_residual
from napari_emsynth.trust.selfcheck import told_psnr
from napari_emsynth.volume import Array, Float, Volume

# A check looks at the middle of the volume: a few seconds for a network on two cores.
EDGE, DEPTH = 256, 24
SIGMA_PX = 1.0
# The same for displacements, where every section is matched with several others, twice.
FIELD_DEPTH = 10
DISTORTION = Distortion(shift_px=1.0, rotation_deg=0.1, warp_px=0.5, wavelength_px=48.0)
# Sections smaller than this hold no structure to be compared.
SMALLEST_EDGE = 16


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

    @property
    def verdict(self) -> str:
        """The figures that decide, in words."""
        return (
            f"a known jitter on this volume ({self.psnr_jittered:.1f} dB jittered, {self.psnr_aligned:.1f} dB aligned)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict."""
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "n"}
        rounded = {name: round(value, 4) for name, value in figures.items()}
        return rounded | {"beats_floors": self.beats_floors, "n": self.n}


@dataclass(frozen=True, kw_only=True)
class FieldCheck(SelfCheck):
    """What was found of a method that answers with displacements.

    Args:
        epe_jittered: (2) in px when nothing is aligned.
        epe_aligned: (2) in px.
        folds: share of pixels where a displacement folds, 0 to 1.
    """

    epe_jittered: float
    epe_aligned: float
    folds: float

    @property
    def beats_floors(self) -> bool:
        """True when aligning leaves less of a known distortion than there was."""
        return self.epe_aligned < self.epe_jittered

    @property
    def verdict(self) -> str:
        """The figures that decide, in words."""
        return f"a known distortion on this volume ({self.epe_jittered:.2f} px before, {self.epe_aligned:.2f} px after)"


def check(request: Request, without: Collection[int] = ()) -> tuple[SelfCheck | None, Alignment | None]:
    """Align the middle of the volume, as it is and moved by a known amount.

    Args:
        request: what is to be aligned, and by what.
        without: sections that are damaged: they are no truth, and nothing is matched with them.

    Returns:
        What was found, None when the sections are too small to be compared; and the fields of the whole volume where
        they were found on the way, because it is no larger than what is looked at.

    Raises:
        Cancelled: after ``request.runtime.cancel``.
    """
    volume, seed = request.volume, request.runtime.seed
    if min(volume.shape[1:]) < SMALLEST_EDGE:
        return None, None
    if request.spec.answers == "displacement":
        return _fields_checked(
            request, distort(volume, DISTORTION, seed, edge=EDGE, depth=FIELD_DEPTH, without=without)
        )
    known = jitter(volume, SIGMA_PX, seed, edge=EDGE, depth=DEPTH, without=without)
    return _voxels_checked(request, known), None


def _voxels_checked(request: Request, known: Jittered) -> SelfCheck:
    truth = known.inner(known.whole)
    straight = known.inner(known.aligned(request, Volume.of(known.whole)))
    mended = known.inner(known.aligned(request))
    return SelfCheck(
        cpc_before=stack_cpc(truth),
        cpc_after=stack_cpc(straight),
        psnr_jittered=told_psnr(known.inner(known.volume.data), truth, known.peak),
        psnr_aligned=told_psnr(mended, truth, known.peak),
        n=len(truth),
    )


def _fields_checked(request: Request, known: Jittered) -> tuple[FieldCheck, Alignment | None]:
    # What is damaged is left out already, and where the stack shall lie is of no matter here.
    free = Constraints(skip=())
    as_it_is = replace(known.volume, data=known.whole)
    straight, mended = straightened([request.on(v) for v in (as_it_is, known.volume)], free)
    truth = known.inner(known.whole)
    u_0, u_k = (dense(s.alignment.field) for s in (straight, mended))
    found = FieldCheck(
        cpc_before=stack_cpc(truth),
        cpc_after=stack_cpc(known.inner(shown(straight))),
        psnr_jittered=told_psnr(known.inner(known.volume.data), truth, known.peak),
        psnr_aligned=told_psnr(known.inner(shown(mended)), truth, known.peak),
        epe_jittered=stack_residual(np.zeros_like(u_k), known.known, known.margin),
        epe_aligned=stack_residual(u_k, known.known, known.margin, alone=u_0),  # (1), (2)
        folds=float(np.mean([folds(u) for u in u_k])),
        n=len(truth),
    )
    everything = known.whole.shape == request.volume.shape
    return found, straight.alignment if everything else None


def dense(field: Displacement) -> Float:
    """Return [z, 2, y, x] (dy, dx) px of a field that is known to be small."""
    return np.stack([field.dense(z) for z in range(field.shape[0])])


def shown(straight: Straight) -> Array:
    """Return the moved sections [z, y, x] as floats, NaN where there is nothing to be seen."""
    stack = np.asarray(straight.volume.data, np.float32)
    return np.where(straight.outside.data, np.float32(np.nan), stack)
