"""The coarser levels of an OME-Zarr: which there are, what their voxels show, and how the file says where they lie.

Laws: coarser voxels keep edges (a level's origin shifts by half a voxel); an image's are means; a mask's are set where
any finer one is; of labels every id of every level is one of level 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from napari_emsynth.grid import Grid, Shape
from napari_emsynth.io.atomic import undisturbed
from napari_emsynth.io.content import MASKS, Block, blocks
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import CancelToken
from napari_emsynth.volume import Array

# Coarser levels are added until a section fits this edge (px), or so many were added.
SMALLEST_EDGE = 256
MOST_LEVELS = 5


@dataclass(frozen=True)
class Level:
    """One resolution: how many voxels of level 0 make one of its own, along z, y, x."""

    factors: Shape

    def shape(self, full: Shape) -> Shape:
        """Return its shape; a last partial voxel counts."""
        z, y, x = (math.ceil(n / f) for n, f in zip(full, self.factors, strict=True))
        return (z, y, x)


def levels(grid: Grid) -> list[Level]:
    """Return the resolutions to write: y and x halve, z too once it is no coarser than they are."""
    factors, out = (1, 1, 1), [Level((1, 1, 1))]
    vz, vy, vx = grid.voxel_nm or (math.inf, 1.0, 1.0)
    while len(out) <= MOST_LEVELS and max(out[-1].shape(grid.shape)[1:]) > SMALLEST_EDGE:
        fz, fy, fx = factors
        deeper = 2 if vz * fz < 1.5 * max(vy * fy, vx * fx) else 1
        factors = (fz * deeper, fy * 2, fx * 2)
        out.append(Level(factors))
    return out


Reduction = Callable[[Sequence[Array]], Array]
"""The voxels that make coarser ones, the first of each, the second of each, ... [z, y, x], to the coarser ones."""


def reduction_of(name: str, *, labels: bool) -> Reduction:
    """Return how a part's voxels make coarser ones.

    Args:
        name: of the part.
        labels: the volume's voxels are ids.
    """
    if name in MASKS:
        return np.maximum.reduce
    return most_common if name == "volume" and labels else _mean


def coarsen(source: Any, target: Any, steps: Shape, reduction: Reduction, cancel: CancelToken | None) -> None:
    """Fill ``target``: every voxel is the reduction of ``steps`` voxels of ``source``."""
    z, y, x = target.chunks
    for block in blocks(target.shape, target.shards or (z, 4 * y, 4 * x)):
        if cancel is not None:
            cancel.check()
        coarser = coarse_block(source.__getitem__, source.shape, block, steps, reduction)
        with undisturbed():
            target[block] = coarser


def coarse_block(
    read: Callable[[Block], Array], shape: Sequence[int], block: Block, steps: Shape, reduction: Reduction
) -> Array:
    """Return a block of a coarser level; partial voxels at the far faces count as whole ones.

    Args:
        read: gives a block of the finer level.
        shape: of the finer level.
        block: of the coarser one.
        steps: voxels of the finer level that make one.
        reduction: makes one of them.
    """
    z, y, x = (slice(b.start * s, min(b.stop * s, n)) for b, s, n in zip(block, steps, shape, strict=True))
    return reduction(_members(read((z, y, x)), steps, block))


def steps_between(fine: Shape, coarse: Shape) -> Shape | None:
    """Return how many voxels make one of a coarser level along z, y, x; None where they are no whole number."""
    found = []
    for n, m in zip(fine, coarse, strict=True):
        step = max(1, round(n / m))
        if m not in (n // step, math.ceil(n / step)):
            return None
        found.append(step)
    return found[0], found[1], found[2]


def _members(finer: Array, steps: Shape, block: Block) -> list[Array]:
    """Return the voxels that make coarser ones; partial ones at the far faces repeat the last voxel."""
    short = [(b.stop - b.start) * s - n for b, s, n in zip(block, steps, finer.shape, strict=True)]
    full = np.pad(finer, [(0, n) for n in short], mode="edge")
    return [full[z :: steps[0], y :: steps[1], x :: steps[2]] for z, y, x in product(*map(range, steps))]


def _mean(members: Sequence[Array]) -> Array:
    with np.errstate(all="ignore"):  # infinities of opposite sign make NaN
        total = members[0].astype(np.float64)
        for member in members[1:]:
            total += member
        mean: Array = total / len(members)
        return to_dtype(mean, members[0].dtype)


def most_common(members: Sequence[Array]) -> Array:
    """Return the id that most of the voxels have, the first of those where several do; never a new one.

    Args:
        members: [z, y, x] ids of any type, of the first voxel, the second one, ...
    """
    best, most = members[0], np.zeros(members[0].shape, np.uint8)
    for candidate in members:
        votes = np.zeros_like(most)
        for member in members:
            votes += candidate == member
        best, most = np.where(votes > most, candidate, best), np.maximum(votes, most)
    return best
