"""What a recipe learns from and what it is scored on: blocks of intact sections, split along z.

Law: no held-out section is ever inside a training block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array, Volume

# A voxel counts as isotropic when its axes agree within this share.
ISOTROPIC = 0.1


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
    """

    blocks: Sequence[Array]
    held_out: Sequence[Array]
    axes: tuple[int, ...] = (0,)
    name: str = ""
    thick: Sequence[Array] = ()
    thick_held_out: Sequence[Array] = ()

    def judged(self) -> list[tuple[Array, Array]]:
        """Return every held-out block with one that is learned from, of the same volume."""
        pairs = [*zip(self.held_out, self.blocks, strict=False)]
        return [*pairs, *zip(self.thick_held_out, self.thick, strict=False)]

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


def split(volume: Volume, *, held_out: float = 0.15) -> TrainingData:
    """Read a volume and hold out its last sections.

    Args:
        volume: what to learn from, wholly read into memory.
        held_out: share of the sections held out; at least 5.

    Raises:
        InputError: fewer than 16 sections.
    """
    z = volume.shape[0]
    if z < 16:
        raise InputError(f"training needs at least 16 sections, got {z}")
    kept = z - max(5, round(z * held_out))
    block = volume.read(slice(None))
    axes = (0, 1, 2) if is_isotropic(volume) and min(block[:kept].shape) >= 32 else (0,)
    return TrainingData(
        blocks=[block[:kept]], held_out=[block[kept:]], axes=axes, name=volume.name or "volume"
    )
