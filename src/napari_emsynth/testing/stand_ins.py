"""Small methods that stand for networks: what laws, commands and docks are tried on.

They are registered as another package's would be: by an entry point that names :data:`DOUBLER`, :data:`SHARPENER`,
:data:`SHIFTER` or what :func:`redrawing` returns. All but the shifter redraw acquired voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.ndimage import uniform_filter
from skimage.registration import phase_cross_correlation

from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField
from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.protocol import Finer
from napari_emsynth.methods.superres.reduction import REACH, enlarged
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.params import Params, param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

Halo = tuple[int, int, int]


@dataclass(frozen=True)
class Redraw:
    """An aligner made of a function of a block.

    Args:
        fn: [z, y, x] -> [z, y, x].
        halo: voxels that ``fn`` looks at around what it answers.
    """

    fn: Callable[[Float], Float]
    halo: Halo

    def __call__(self, block: Float, runtime: Runtime) -> Float:
        """Apply the function."""
        runtime.cancel.check()
        return np.asarray(self.fn(block), np.float32)


def smooth(block: Float) -> Float:
    """Return the mean of every voxel and its neighbours along z; reflects at the faces."""
    return np.asarray(uniform_filter(block, (3, 1, 1), mode="mirror"), np.float32)


@dataclass(frozen=True, kw_only=True)
class StrengthParams(Params):
    """What a stand-in can be told."""

    strength: float = param(1.0, "Share of the new voxel in the answer.", low=0.0, high=1.0, step=0.1)


def redrawing(fn: Callable[[Float], Float] = smooth, halo: Halo = (1, 0, 0)) -> MethodSpec:
    """Return an align method ``stand-in-NAME`` that applies ``fn`` to every block.

    Args:
        fn: [z, y, x] normalised -> the same shape.
        halo: voxels that ``fn`` looks at around what it answers.
    """

    def build(params: Any, runtime: Runtime, weights: str | None) -> Redraw:  # noqa: ARG001 - the common signature
        share = np.float32(params.strength)
        return Redraw(lambda block: share * fn(block) + (1 - share) * block, halo)

    return MethodSpec(
        task="align",
        id=f"stand-in-{fn.__name__.replace('_', '-')}",
        title="Stand-in",
        summary="Stands for a network that redraws a stack.",
        params=StrengthParams,
        build=build,
        keeps_acquired=False,
    )


class Shifter:
    """A registrar that answers a shift of the whole section, to a tenth of a pixel."""

    how: Literal["pairs", "chain"] = "pairs"

    def __call__(
        self,
        moving: Float,
        fixed: Sequence[Neighbour],
        known: Mask | None,  # noqa: ARG002 - the common signature
        runtime: Runtime,
    ) -> PairField:
        """Correlate the section with its nearest neighbour."""
        runtime.cancel.check()
        by, _, _ = phase_cross_correlation(fixed[0].image, moving, upsample_factor=10)
        shift = -np.asarray(by, np.float32)
        displacement = np.broadcast_to(shift[:, None, None], (2, 2, 2))
        return PairField(np.ascontiguousarray(displacement), np.ones((2, 2), np.float32))


SHIFTER = MethodSpec(
    task="align",
    id="stand-in-shifter",
    title="Stand-in",
    summary="Stands for a method that answers with displacements.",
    params=SolvedParams,
    build=lambda params, runtime, weights: Shifter(),  # noqa: ARG005 - the common signature
    answers="displacement",
)


class Doubler:
    """An upsampler that redraws every section as nine parts of itself and one of the section below."""

    def halo(self, factor: float) -> Halo:  # noqa: ARG002 - the common signature
        """One section more."""
        return (1, 0, 0)

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Mix the sections around every position."""
        runtime.cancel.check()
        last = len(block) - 1
        out = np.empty((len(ask.sections), *block.shape[1:]), np.float32)
        for k, position in enumerate(ask.positions):
            b = min(int(position), last)
            t = np.float32(position - b)
            linear = (1 - t) * block[b] + t * block[min(b + 1, last)]
            out[k] = 0.9 * linear + 0.1 * block[b - 1 if b else min(1, last)]
        return [Expert("doubled", out)]


DOUBLER = MethodSpec(
    task="upsample",
    id="stand-in-doubler",
    title="Stand-in",
    summary="Stands for a network that doubles the sections and redraws them.",
    build=lambda params, runtime, weights: Doubler(),  # noqa: ARG005 - the common signature
    keeps_acquired=False,
    factors=(2,),
    samplings=("point",),
)


class Sharpener:
    """A super-resolver that brightens what it sees by a tenth of a deviation and mixes in the neighbours."""

    factor: int | None = None
    context, spacing, halo, multiple = 2, 1, REACH, 1
    confidence = Confidence(((0.0, 2.0),))

    def __call__(self, block: Float, factor: int, runtime: Runtime) -> Finer:
        """Enlarge the middle section, with a pattern of zero mean from those around it."""
        runtime.cancel.check()
        middle = enlarged(block[self.context], factor)
        around = np.delete(block, self.context, axis=0).mean(axis=0).repeat(factor, 0).repeat(factor, 1)
        stripes = np.where(np.arange(middle.shape[1]) % 2, np.float32(0.01), np.float32(-0.01))
        mean = middle + np.float32(0.1) + stripes * around
        return Finer(mean, np.full_like(mean, 0.25), np.full_like(mean, 0.5))


SHARPENER = MethodSpec(
    task="superres",
    id="stand-in-sharpener",
    title="Stand-in",
    summary="Stands for a network with a prior that draws finer pixels.",
    build=lambda params, runtime, weights: Sharpener(),  # noqa: ARG005 - the common signature
    keeps_acquired=False,
    has_uncertainty=True,
    has_prior=True,
    factors=(8, 16),
)
