"""A volume: voxels and their grid, travelling together.

Laws: voxels are read by block and never all at once unless asked; reading returns native byte order and the
source's dtype; the array is never written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape, Triple

Array = NDArray[Any]
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Volume:
    """Voxels [z, y, x] with the grid they sit on.

    Args:
        data: numpy array, memmap, dask array or zarr array, [z, y, x], any real dtype.
        grid: shape, voxel size and origin; its shape equals the data's.
        name: what the user calls it (a layer's or a file's name).
        metadata: what its source says beside voxels and size; carried along, never interpreted.
    """

    data: Any
    grid: Grid
    name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        voxel_nm: Sequence[float] | None = None,
        origin_nm: Triple = (0.0, 0.0, 0.0),
        name: str = "",
    ) -> Volume:
        """Wrap an array, or return a Volume as it is (with ``voxel_nm`` replaced when given).

        Raises:
            InputError: not three axes, an empty axis, a dtype that is not real, a nonsense voxel size.
        """
        if isinstance(data, Volume):
            if voxel_nm is None:
                return data
            grid = Grid(shape=data.grid.shape, voxel_nm=tuple(voxel_nm), origin_nm=data.grid.origin_nm)  # type: ignore[arg-type]
            return replace(data, grid=grid)
        if not hasattr(data, "shape") or not hasattr(data, "dtype"):
            data = np.asarray(data)
        dtype = np.dtype(data.dtype)
        if dtype.kind not in "buif":
            raise InputError(f"voxels of type {dtype} are not real numbers; needs integers or floats")
        return cls(
            data=data,
            grid=Grid(shape=tuple(data.shape), voxel_nm=voxel_nm, origin_nm=origin_nm),  # type: ignore[arg-type]
            name=name,
        )

    @property
    def shape(self) -> Shape:
        """Sections, rows, columns."""
        return self.grid.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The voxels' type, in native byte order."""
        native: np.dtype[Any] = np.dtype(self.data.dtype).newbyteorder("=")
        return native

    @property
    def is_lazy(self) -> bool:
        """True when voxels come from a file, dask, zarr or another store rather than from memory."""
        return not isinstance(self.data, np.ndarray) or isinstance(self.data, np.memmap)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Return a block [z, y, x] in native byte order; reads no more than it must."""
        block = self.data[z, y, x]
        if hasattr(block, "compute"):
            # Threads, not the ambient scheduler: a nested call inside a worker must not wait for itself.
            block = block.compute(scheduler="synchronous")
        return np.asarray(block, dtype=self.dtype)

    def section(self, z: int, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Return one section [y, x] (or a window of it) in native byte order."""
        section: Array = self.read(slice(z, z + 1), y, x)[0]
        return section
