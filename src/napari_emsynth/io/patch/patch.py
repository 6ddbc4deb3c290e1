"""A patch as it is read: of which volume it is, what changed, and the voxels before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.io.content import MARKS, Block
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.io.zarr.read import PATCH, is_zarr
from napari_emsynth.io.zarr.store import LocalZarr, ZarrArray
from napari_emsynth.volume import Volume, canonical

SUFFIX = ".patch.zarr"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Patch:
    """What one step changed of a volume.

    Args:
        path: of its file.
        id: tells it from every other patch, by content.
        name: of the volume that it was made of.
        grid: of that volume.
        dtype: of its voxels.
        boxes: what changed, within the volume.
        record: provenance of the step that made it.
        arrays: for every box: ``old`` and ``new`` [z, y, x], and what is known of the new ones.
    """

    path: Path
    id: str
    name: str
    grid: Grid
    dtype: np.dtype[Any]
    boxes: tuple[Block, ...]
    record: Mapping[str, Any] = field(repr=False)
    arrays: tuple[Mapping[str, Any], ...] = field(repr=False)

    @property
    def sections(self) -> list[int]:
        """Sections of the volume with a box in them, in order."""
        return sorted({z for box in self.boxes for z in range(box[0].start, box[0].stop)})

    @property
    def voxels(self) -> int:
        """How many voxels the boxes have."""
        return sum(_voxels(box) for box in self.boxes)

    @property
    def marks(self) -> tuple[str, ...]:
        """What it knows of the new voxels, by name."""
        return tuple(name for name in MARKS if self.arrays and name in self.arrays[0])

    def check_fits(self, volume: Volume, what: str) -> None:
        """Refuse a volume that the patch is not of, by what it says of itself.

        Args:
            volume: read from anywhere.
            what: it is called in messages.

        Raises:
            InputError: another shape, type or voxel size.
        """
        ours, its = (" x ".join(map(str, shape)) for shape in (self.grid.shape, volume.shape))
        if ours != its:
            raise InputError(f"{self.path} is a patch of a volume of {ours} voxels, and {what} has {its}")
        if volume.dtype != self.dtype:
            raise InputError(f"{self.path} is a patch of {self.dtype} voxels, and {what} holds {volume.dtype}")
        sizes = self.grid.voxel_nm, volume.grid.voxel_nm
        if None not in sizes and not np.allclose(*sizes, rtol=1e-3):  # type: ignore[arg-type]
            told = [", ".join(f"{n:g}" for n in size or ()) for size in sizes]
            raise InputError(f"{self.path} is a patch of voxels of {told[0]} nm, and {what} has voxels of {told[1]} nm")

    def to_json(self) -> dict[str, Any]:
        """Return what there is to say of it."""
        return {
            "patch": str(self.path),
            "id": self.id,
            "name": self.name,
            "shape": list(self.grid.shape),
            "dtype": str(self.dtype),
            "voxel_nm": None if self.grid.voxel_nm is None else list(self.grid.voxel_nm),
            "task": self.record.get("task"),
            "method": self.record.get("method"),
            "created": self.record.get("created"),
            "sections": self.sections,
            "boxes": boxes_to_json(self.boxes),
            "voxels": self.voxels,
            "holds": list(self.marks),
        }


def is_patch(path: Path) -> bool:
    """Return whether a folder is a patch, by what it says of itself."""
    if not (path.is_dir() and is_zarr(path)):
        return False
    with opening(path, "Zarr"):
        node = zarr.open(LocalZarr(path), mode="r")
        return isinstance(node, zarr.Group) and PATCH in node.attrs


def read_patch(path: Path | str) -> Patch:
    """Read a patch; its voxels stay in the file until they are asked for.

    Raises:
        InputError: no such file, no patch, one of a later version, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not is_patch(path):
        raise InputError(f"{path} is no patch; --patch of emsynth interpolate or align writes one")
    with opening(path, "a patch"):
        root = zarr.open_group(LocalZarr(path), mode="r")
        said = root.attrs[PATCH]
        if said["format"] != FORMAT:
            raise InputError(f"{path} is a patch of format {said['format']}, this version reads format {FORMAT}")
        z, y, x = said["shape"]
        grid = Grid(shape=(z, y, x), voxel_nm=said["voxel_nm"], origin_nm=tuple(said["origin_nm"]))
        boxes = tuple(_box(box, grid) for box in said["boxes"])
        dtype = canonical(said["dtype"])
        arrays = tuple(_piece(path, root, number, box, dtype) for number, box in enumerate(boxes))
        return Patch(
            path=path,
            id=str(said["id"]),
            name=str(said["name"]),
            grid=grid,
            dtype=dtype,
            boxes=boxes,
            record=dict(said["record"]),
            arrays=arrays,
        )


def boxes_to_json(boxes: Sequence[Block]) -> list[list[list[int]]]:
    """Return boxes as [[z0, z1], [y0, y1], [x0, x1]]."""
    return [[[s.start, s.stop] for s in box] for box in boxes]


def _box(said: Any, grid: Grid) -> Block:
    z, y, x = (slice(int(low), int(high)) for low, high in said)
    for cut, length in zip((z, y, x), grid.shape, strict=True):
        if not 0 <= cut.start < cut.stop <= length:
            raise InputError(f"a box reaches from {cut.start} to {cut.stop}, outside 0 to {length}")
    return z, y, x


def _voxels(box: Block) -> int:
    z, y, x = (int(cut.stop - cut.start) for cut in box)
    return z * y * x


def _piece(path: Path, root: zarr.Group, number: int, box: Block, dtype: np.dtype[Any]) -> dict[str, Stored]:
    """Return the arrays of one box, each of the type and shape that it must have."""
    shape = tuple(cut.stop - cut.start for cut in box)
    byte, single = np.dtype(np.uint8), np.dtype(np.float32)
    types = {"old": dtype, "new": dtype, "synthetic": byte, "empty": byte, "uncertainty": single}
    group = root[f"pieces/{number}"]
    found: dict[str, Stored] = {}
    for name in ("old", "new", *(mark for mark in MARKS if mark in group)):
        source = ZarrArray(str(path), f"pieces/{number}/{name}", (0, 1, 2), {})
        if source.shape != shape or canonical(source.dtype) != types[name]:
            raise InputError(f"pieces/{number}/{name} holds {source.shape} {source.dtype}, needs {shape} {types[name]}")
        found[name] = Stored(path, source, source.anchors)
    return found
