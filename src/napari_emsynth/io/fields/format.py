"""What a format of displacement fields is: how a file is read, begun and filled.

Conventions: a format deals in (dy, dx) px, pull, as :class:`~napari_emsynth.fields.displacement.Displacement` does, and
turns them into what its files hold: other units, another order, other axes. What is not of a file's own is not its
business: where it may lie, and that it appears when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.grid import Shape, Triple
from napari_emsynth.io.atomic import Work
from napari_emsynth.volume import Float

# Rows that are written, and looked through, at once; chunks of a Zarr along y and x.
EDGE = 512
# No section is larger, in px, and no stack has more sections.
LARGEST_EDGE = 1 << 24
NO_ORIGIN: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A field as a file holds it.

    Args:
        data: [z, 2, y', x'] (dy, dx) px, read as it is asked for.
        shape: of the volume that it serves.
        voxel_nm: voxel size (z, y, x) of that volume; None when unknown.
        origin_nm: centre of its voxel (0, 0, 0).
        limit_nm: no vector is longer; None for no limit.
    """

    data: Any
    shape: Shape
    voxel_nm: Triple | None = None
    origin_nm: Triple = NO_ORIGIN
    limit_nm: float | None = None


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a file is begun with: all but the vectors.

    Args:
        field: that is written.
        nodes: along y and x; as many as pixels, but for formats that keep coarse nodes.
        origin_nm: centre of voxel (0, 0, 0) of the volume that the field serves.
        record: the field's provenance, in strict JSON; None when there is none.
    """

    field: Displacement
    nodes: tuple[int, int]
    origin_nm: Triple = NO_ORIGIN
    record: dict[str, Any] | None = None

    @property
    def sections(self) -> int:
        """Number of sections."""
        return self.field.shape[0]

    @property
    def voxel_nm(self) -> Triple:
        """The voxel size (z, y, x), of formats that need it.

        Raises:
            InputError: it is unknown.
        """
        if self.field.voxel_nm is None:
            raise InputError("the voxel size is unknown; give --voxel-size z,y,x in nm")
        return self.field.voxel_nm


class Target(Protocol):
    """A file that is filled."""

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section, [2, rows, x] (dy, dx) px."""

    def close(self) -> None:
        """Write what can be written only now."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    Args:
        suffix: of its files, lower case.
        about: in a few words, for a person.
        read: opens a file.
        begin: makes what is filled, at ``work.data``.
        takes: bytes on the disk for so many voxels, at least; 0 where that cannot be said.
        folder: a Zarr; else a file.
        physical: vectors are lengths, so that the voxel size must be known.
        keeps_nodes: coarse nodes can be written.
    """

    suffix: str
    about: str
    read: Callable[[Path], Found]
    begin: Callable[[Work, Head], Target]
    takes: Callable[[int], int]
    folder: bool = False
    physical: bool = False
    keeps_nodes: bool = False


def no_bytes(voxels: int) -> int:  # noqa: ARG001 - the common signature
    """Return 0: how small chunks get cannot be said."""
    return 0


def check_numbers(dtype: Any) -> np.dtype[Any]:
    """Return the type of stored vectors.

    Raises:
        InputError: not whole or real numbers.
    """
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind not in "iuf":
        raise InputError(f"vectors of {found}, needs float32")
    return found


def check_shape(shape: tuple[int, ...]) -> Shape:
    """Return the shape of the volume that a field serves.

    Raises:
        InputError: no volume has it.
    """
    z, y, x = (int(n) for n in shape)
    if not (min(z, y, x) > 0 and max(z, y, x) < LARGEST_EDGE):
        raise InputError(f"no volume has {z} x {y} x {x} voxels, as the field says")
    return z, y, x
