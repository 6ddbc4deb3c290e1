"""A volume: voxels and their grid, travelling together.

Laws: voxels are read by block and never all at once unless asked; reading returns native byte order and the
source's dtype; the array is never written to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape, Triple

Array = NDArray[Any]
Float = NDArray[np.float32]


def canonical(dtype: Any) -> np.dtype[Any]:
    """Return the one type that stands for all of a kind and size: native byte order, whatever C calls it here."""
    named: np.dtype[Any] = np.dtype(np.dtype(dtype).newbyteorder("=").str)
    return named


@dataclass(frozen=True, kw_only=True)
class Known:
    """What earlier steps left behind of a volume, all on the volume's own grid.

    Args:
        record: of the last step; that of the step before is its key ``previous``, and so on. None for none.
        synthetic: [z, y, x] uint8, 1 where a voxel was made up by any step; None where none was.
        empty: [z, y, x] uint8, 1 where nothing was acquired and nothing is shown; None where every voxel is valid.
        uncertainty: [z, y, x] float32, half width of the 90 % interval of what was made up; None when unknown.
        moved: what the volume was drawn from, if it was only moved: the voxels before, and the displacement field.
    """

    record: Mapping[str, Any] | None = None
    synthetic: Any = None
    empty: Any = None
    uncertainty: Any = None
    moved: tuple[Volume, Any] | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any] | None, marks: Mapping[str, Any]) -> Known | None:
        """Return what a record and marks by name say, None where neither says anything."""
        return cls(record=record, **marks) if marks or record is not None else None

    @property
    def marks(self) -> dict[str, Any]:
        """The arrays by name, those that there are."""
        named = {"synthetic": self.synthetic, "empty": self.empty, "uncertainty": self.uncertainty}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True)
class Volume:
    """Voxels [z, y, x] with the grid they sit on, and what is known of them.

    Args:
        data: numpy array, memmap, dask array or zarr array, [z, y, x], any real dtype.
        grid: shape, voxel size and origin; its shape equals the data's.
        name: what the user calls it (a layer's or a file's name).
        metadata: what its source says beside voxels and size; carried along, never interpreted.
        known: what earlier steps left behind, which every task takes along; None where nothing is. All but where the
            volume is empty stays at home when it is sent to another process.
        labels: True when every value is an id, so that no mean of two makes sense.

    Raises:
        InputError: marks of another shape than the grid's.
    """

    data: Any
    grid: Grid
    name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    known: Known | None = None
    labels: bool = False

    def __post_init__(self) -> None:
        for name, marks in ({} if self.known is None else self.known.marks).items():
            if tuple(marks.shape) != self.grid.shape:
                raise InputError(
                    f"the {name} marks of {self.name or 'a volume'} have {tuple(marks.shape)} voxels, "
                    f"the volume {self.grid.shape}"
                )

    def __getstate__(self) -> dict[str, Any]:
        empty = None if self.known is None else self.known.empty
        return self.__dict__ | {"known": None if empty is None else Known(empty=empty)}

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        voxel_nm: Sequence[float] | None = None,
        origin_nm: Triple = (0.0, 0.0, 0.0),
        name: str = "",
        labels: bool = False,
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
            labels=labels,
        )

    @property
    def shape(self) -> Shape:
        """Sections, rows, columns."""
        return self.grid.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The voxels' type, in native byte order."""
        return canonical(self.data.dtype)

    @property
    def record(self) -> Mapping[str, Any] | None:
        """Return the provenance record of the step that made the volume, None of what was acquired."""
        return None if self.known is None else self.known.record

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

    def part(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Volume:
        """Return a part of the volume on a grid of its own, lazy where it is, and where it is empty.

        What else is known of the volume is left behind.
        """
        empty = None if self.known is None else self.known.empty
        known = None if empty is None else Known(empty=_cut(Volume.of(empty), z, y, x))
        return replace(Volume.of(_cut(self, z, y, x), voxel_nm=self.grid.voxel_nm, name=self.name), known=known)

    def in_memory(self) -> Volume:
        """Return the volume with its voxels in memory."""
        return replace(self, data=self.read(slice(None)))

    def section(self, z: int, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Return one section [y, x] (or a window of it) in native byte order."""
        section: Array = self.read(slice(z, z + 1), y, x)[0]
        return section


def _cut(volume: Volume, z: slice, y: slice, x: slice) -> Any:
    """Return a part of an array, lazy where it is."""
    data = volume.data
    if volume.is_lazy and not hasattr(data, "dask"):
        import dask.array as da

        data = da.from_array(data, name=False)
    return data[z, y, x]
