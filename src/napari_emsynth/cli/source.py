"""Volumes as the command line works on them: always lazy, so that memory does not grow with the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from mmap import mmap
from typing import Any

import numpy as np

from napari_emsynth.volume import Array, Volume


@dataclass(frozen=True)
class Mapped:
    """[z, y, x] Voxels of an uncompressed file, mapped anew whenever they are read.

    A memory map itself would be copied whole to another process; this travels as a file name.
    """

    path: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> Array:
        return np.array(np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[key])


def streamed(volume: Volume) -> Volume:
    """Return the volume with memory-mapped voxels as a dask array, one section a chunk."""
    data = volume.data
    # A view of a map has another offset than it says: only the whole of one is mapped again.
    base: Any = getattr(data, "base", None)
    if not isinstance(data, np.memmap) or data.filename is None or not isinstance(base, mmap):
        return volume
    import dask.array as da

    source = Mapped(str(data.filename), data.dtype, int(data.offset), data.shape)
    lazy = da.from_array(
        source, chunks=(1, *data.shape[1:]), name=False, asarray=True, meta=np.empty((0, 0, 0), data.dtype)
    )
    return replace(volume, data=lazy)
