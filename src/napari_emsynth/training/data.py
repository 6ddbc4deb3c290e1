"""What a recipe learns from and what it is scored on: blocks of intact sections, split along z.

Laws: no held-out section is ever inside a training block; no damaged section is inside any; the sections of a block
adjoin each other; nothing in a block is empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.trust.intact import around
from napari_emsynth.trust.validity import Emptiness, inside
from napari_emsynth.volume import Array, Known, Volume

# A voxel counts as isotropic when its axes agree within this share.
ISOTROPIC = 0.1
# Sections that training needs, and those of the shortest run that teaches anything.
LEAST_SECTIONS, LEAST_RUN = 16, 3
# Sections of a block whose reslices are looked at, and the share of all sections that such blocks must hold.
LEAST_RESLICED, RESLICED_SHARE = 32, 0.5


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Blocks [z, y, x] to learn from and to be scored on.

    Args:
        blocks: to learn from.
        held_out: to be scored on, along z.
        axes: along which sections may be taken; (0, 1, 2) where voxels are isotropic.
        name: what the blocks are called, for the card.
        thick: further blocks, of sections thicker than their pixels: along z only. A recipe may leave them.
        thick_held_out: of these, to be scored on.
        own: True for the very volume that will be mended: other volumes need not be thought of.
    """

    blocks: Sequence[Array]
    held_out: Sequence[Array]
    axes: tuple[int, ...] = (0,)
    name: str = ""
    thick: Sequence[Array] = ()
    thick_held_out: Sequence[Array] = ()
    own: bool = False

    def judged(self) -> list[tuple[Array, Array]]:
        """Return every held-out block with the largest one of its kind that is learned from."""
        kinds = ((self.held_out, self.blocks), (self.thick_held_out, self.thick))
        return [(block, max(learned, key=np.size)) for held_out, learned in kinds for block in held_out]

    def fingerprint(self) -> str:
        """A short hash of shapes and a sample of the values: equal data, equal hash."""
        digest = hashlib.sha256()
        for block in (*self.blocks, *self.held_out, *self.thick, *self.thick_held_out):
            digest.update(repr((block.shape, str(block.dtype), self.axes)).encode())
            digest.update(np.ascontiguousarray(block[::7, ::13, ::13]).tobytes())
        return digest.hexdigest()[:16]


def is_isotropic(volume: Volume) -> bool:
    """True when the voxel size is known and equal along the axes within 10 %."""
    v = volume.grid.voxel_nm
    return v is not None and max(v) / min(v) <= 1 + ISOTROPIC


def split(volume: Volume, *, held_out: float = 0.15, without: Collection[int] = ()) -> TrainingData:
    """Read a volume and hold out its last sections.

    Args:
        volume: what to learn from, wholly read into memory.
        held_out: share of the sections held out; at least 5.
        without: sections that are damaged: blocks end there.

    Raises:
        InputError: fewer than 16 intact sections, or none that adjoin each other.
    """
    intact = [z for z in range(volume.shape[0]) if z not in without]
    if len(intact) < LEAST_SECTIONS:
        said = f" of {volume.shape[0]} that do not look damaged" if len(without) else ""
        raise InputError(f"training needs at least {LEAST_SECTIONS} sections, got {len(intact)}{said}")
    kept = len(intact) - max(5, round(len(intact) * held_out))
    learned, scored = _runs(intact[:kept]), _runs(intact[kept:])
    if not learned or not scored:
        raise InputError(
            f"training needs at least {LEAST_RUN} sections in a row to learn from, and as many to be scored on"
        )
    axes: tuple[int, ...] = (0,)
    if is_isotropic(volume) and (deep := _resliced(learned, volume.shape)):
        learned, axes = deep, (0, 1, 2)
    return TrainingData(
        blocks=[_shown(volume, run) for run in learned],
        held_out=[_shown(volume, run) for run in scored],
        axes=axes,
        name=volume.name or "volume",
        own=True,
    )


def _shown(volume: Volume, run: range) -> Array:
    """Return a run of sections [z, y, x]: the rows and columns in which they show tissue."""
    z = slice(run.start, run.stop)
    y, x = inside(volume, run)
    return volume.read(z, y, x)


def closed_up(volume: Volume, without: Collection[int]) -> Volume:
    """Return a volume without some sections, in memory: those before and after lie next to each other."""
    intact = [z for z in range(volume.shape[0]) if z not in without]
    closed = Volume.of(volume.read(slice(None))[intact], voxel_nm=volume.grid.voxel_nm, name=volume.name)
    found = Emptiness(volume)
    if not found.anywhere(intact):
        return closed
    return replace(closed, known=Known(empty=found[:][intact]))


def _runs(sections: Sequence[int]) -> list[range]:
    """Return the runs of adjoining sections, but for those that are too short to teach anything."""
    return [run for run in around(sections, 0, 1 + max(sections, default=0)) if len(run) >= LEAST_RUN]


def _resliced(runs: Sequence[range], shape: Shape) -> list[range]:
    """Return the runs that are long enough to look at reslices; none when too much would be lost with the others."""
    deep = [run for run in runs if min(len(run), *shape[1:]) >= LEAST_RESLICED]
    return deep if sum(map(len, deep)) >= RESLICED_SHARE * sum(map(len, runs)) else []
