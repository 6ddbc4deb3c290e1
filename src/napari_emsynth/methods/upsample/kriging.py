"""Kriging: the best linear guess of fine sections, from how alike the volume's own pixels are.

A section at ``p`` is guessed from the two acquired ones below and the two above, as many as there are
(:mod:`napari_emsynth.models.kriging`, equations (1) to (3)); nothing is trained, any factor and both samplings are
solved for. Beyond the first and the last section (slab sampling reaches half a section further) places are mirrored.
Our own default starts from this guess.

Laws: under point sampling acquired sections are copied; constant volumes stay constant; the answer at a voxel does not
depend on the block it is part of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_emsynth.methods.building import unlearned
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.models.kriging import REACH, Kriging, Reach, applied, class_sums
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# Sections that have a say on each side.
SEEN = 2
# From a root mean square error to the scale of the Laplace law that has it.
TO_SCALE = 1 / math.sqrt(2)
# Places nearer to an acquired section than this, in sections, are its own.
SAME = 1e-6


def kriged(block: Float, ask: Ask, positions: Sequence[float], reach: Reach = "plane") -> tuple[Float, Float]:
    """Guess sections at any places of a block.

    Args:
        block: [z, y, x] acquired, normalised.
        ask: factor, sampling, and what is known of the volume.
        positions: places in the block, [n] in sections; mirrored where they lie beyond it.
        reach: which pixels of a section have a say.

    Returns:
        mean [n, y, x] and root mean square error [n], normalised; the error is 0 where a section was acquired.
    """
    slab = ask.sampling == "slab"
    kriging = Kriging(ask.likeness.correlation, ask.likeness.apart(ask.factor), slab, reach)
    inner = [folded(p, len(block), slab) for p in positions]
    mean = np.empty((len(inner), *block.shape[1:]), np.float32)
    error = np.zeros(len(inner), np.float32)
    sums: dict[int, Float] = {}
    solved: dict[tuple[float, int], Any] = {}
    for i in sorted(range(len(inner)), key=inner.__getitem__):
        near = round(inner[i])
        if not slab and abs(inner[i] - near) < SAME:
            mean[i] = block[near]
            continue
        below = math.floor(inner[i])
        known = range(max(0, below - SEEN + 1), min(len(block), below + SEEN + 1))
        sums = {z: sums[z] if z in sums else class_sums(block[z], kriging.classes) for z in known}
        question = round(known[0] - inner[i], 9), len(known)
        if question not in solved:
            solved[question] = kriging.weights(*question)
        weights, error[i] = solved[question]
        mean[i] = applied(weights, sums.values())
    return mean, error


def folded(position: float, count: int, slab: bool) -> float:
    """Return where a place is mirrored to: about the outer centres, or the outer faces of slabs."""
    low, high = (-0.5, count - 0.5) if slab else (0.0, count - 1.0)
    if high <= low:
        return low
    over = (position - low) % (2 * (high - low))
    return low + min(over, 2 * (high - low) - over)


class Krige:
    """The built method."""

    kriges = True

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """Voxels looked at."""
        return SEEN, REACH, REACH

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Guess the sections asked for."""
        return self._guess(block, ask, runtime, "plane")

    def in_plane(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Guess from a block [rows, planes, x] whose planes are no neighbours of each other."""
        return self._guess(block, ask, runtime, "row")

    def _guess(self, block: Float, ask: Ask, runtime: Runtime, reach: Reach) -> Sequence[Expert]:
        runtime.cancel.check()
        mean, error = kriged(block, ask, ask.positions, reach)
        scale = np.broadcast_to(np.float32(TO_SCALE) * error[:, None, None], mean.shape)
        return (Expert("kriging", mean, scale),)


SPEC = MethodSpec(
    task="upsample",
    id="kriging",
    title="Kriging",
    summary="The best linear guess from four sections, by how alike the volume's own pixels are. Any factor, nothing "
    "trained, with an error estimate; keeps every acquired section (point), or its average (slab).",
    paper="ordinary kriging: Krige 1951, Matheron 1963",
    build=unlearned(lambda _params: Krige()),
    has_uncertainty=True,
    samplings=("point", "slab"),
)
