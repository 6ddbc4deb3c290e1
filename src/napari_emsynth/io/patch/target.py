"""The Zarr that a patch goes into: its levels, its masks, and the log of the patches that it holds.

Conventions: the log is the attribute ``emsynth_patches`` of the root, one entry a patch, the last one put in last; what
a patch replaces beside level 0 is kept in the group ``emsynth_patches/ID`` until it is taken out again.

Laws: every chunk is written whole or not at all; an array is written only where a box of the patch lies in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape
from napari_emsynth.io.atomic import sync_files
from napari_emsynth.io.choice import ChoiceError
from napari_emsynth.io.content import MASKS, Block
from napari_emsynth.io.patch.write import within
from napari_emsynth.io.stored import Stored, why
from napari_emsynth.io.zarr.levels import Reduction, levels, reduction_of, steps_between
from napari_emsynth.io.zarr.parts import create, group_of, image_metadata, label_list, stored_keys
from napari_emsynth.io.zarr.read import PATCHES, pyramid
from napari_emsynth.io.zarr.store import METADATA_NAMES, ZarrArray
from napari_emsynth.io.zarr.write import CHUNK
from napari_emsynth.volume import Array, Volume, canonical

RECORD = "emsynth"


@dataclass(frozen=True)
class Level:
    """One array [z, y, x] of a Zarr, its axes in any order, to be read and written.

    Args:
        array: the Zarr array.
        order: which of its axes are z, y, x.
        steps: voxels of the next finer level that make one of it, along z, y, x; 1 of the finest.
    """

    array: Any
    order: tuple[int, ...] = (0, 1, 2)
    steps: Shape = (1, 1, 1)

    @property
    def shape(self) -> Shape:
        """Sections, rows, columns."""
        z, y, x = (int(self.array.shape[axis]) for axis in self.order)
        return z, y, x

    @property
    def edges(self) -> Shape:
        """What is written at once: of a chunk, or of a shard where there are some."""
        edges = self.array.shards or self.array.chunks
        z, y, x = (int(edges[axis]) for axis in self.order)
        return z, y, x

    def key(self, block: Block) -> tuple[Any, ...]:
        """Return a block as the Zarr array's own index; axes beside z, y, x have length 1."""
        key: list[Any] = [slice(0, 1)] * self.array.ndim
        for axis, cut in zip(self.order, block, strict=True):
            key[axis] = cut
        return tuple(key)

    def read(self, block: Block) -> Array:
        """Return a block [z, y, x] in native byte order.

        Raises:
            InputError: it cannot be read.
        """
        try:
            found = np.asarray(self.array[self.key(block)])
        except Exception as error:  # whatever a decoder says of a damaged chunk
            where = f"{self.array.store_path}: section {block[0].start}"
            raise InputError(f"{where} cannot be read: {why(error)}") from error
        rest = [axis for axis in range(found.ndim) if axis not in self.order]
        moved = found.transpose([*rest, *self.order]).reshape([found.shape[axis] for axis in self.order])
        return np.ascontiguousarray(moved, canonical(found.dtype))

    def write(self, block: Block, voxels: Array) -> list[str]:
        """Put a block [z, y, x] in, and return the keys of the chunks that hold it."""
        key = self.key(block)
        rest = [axis for axis in range(self.array.ndim) if axis not in self.order]
        moved = voxels.reshape([*(1 for _ in rest), *voxels.shape])
        self.array[key] = moved.transpose(np.argsort([*rest, *self.order]))
        return list(stored_keys(self.array, key))

    def parts(self, box: Block) -> Iterator[Block]:
        """Yield a box of it in parts that no chunk shares with another."""
        return within(box, self.edges, (0, 0, 0))


@dataclass
class Target:
    """A Zarr volume that can be written in place.

    Args:
        path: of it.
        volume: as it is read.
        root: its root; an array of a Zarr that is nothing else.
        finer: its levels, the finest first; those that are no whole-number reduction are left out.
        skipped: levels that are left as they are.
    """

    path: Path
    volume: Volume
    root: Any
    finer: list[Level]
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> Target:
        """Open a Zarr volume to be written in place.

        Raises:
            InputError: no Zarr, damaged, an image that is not the root's or has several channels or times, or one that
                must not be written.
        """
        from napari_emsynth.io import read

        try:
            volume = read(path)
        except ChoiceError as error:
            raise InputError(f"{error}; a patch goes into one: name it, as in {path / 'NAME'}") from error
        stored = volume.data
        if not (isinstance(stored, Stored) and isinstance(stored.source, ZarrArray)):
            raise InputError(f"{path} is no Zarr: a patch is put in place into one; emsynth interpolate writes others")
        name, order, picked = stored.source.place
        group, names = pyramid(path, name)
        try:
            root = zarr.open(store=str(path), mode="r+", use_consolidated=False)
            arrays = [root[inner] if inner else root for inner in names]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} cannot be opened to be written: {error}") from error
        if group or any(arrays[0].shape[axis] != 1 for axis in picked):
            raise InputError(f"{path} holds several images, channels or times: a patch goes into a volume that is one")
        finer, skipped = [Level(arrays[0], order)], []
        for array in arrays[1:]:
            steps = steps_between(finer[-1].shape, Level(array, order).shape)
            if steps is None:
                skipped.append(array.path)
            else:
                finer.append(Level(array, order, steps))
        return cls(path, volume, root, finer, skipped)

    @property
    def holds_parts(self) -> bool:
        """True where it is a group, which masks can be put into."""
        return isinstance(self.root, zarr.Group)

    @property
    def grid(self) -> Grid:
        """Of the finest level."""
        return self.volume.grid

    def reduction(self, name: str) -> Reduction:
        """Return how the voxels of a part make coarser ones."""
        return reduction_of(name, labels=self.volume.labels)

    def part(self, name: str) -> list[Level]:
        """Return the levels of a mask or an error estimate; none where it has none."""
        if not self.holds_parts or f"{group_of(name)}0" not in self.root:
            return []
        arrays = [self.root[f"{group_of(name)}{k}"] for k in range(len(levels(self.grid)))
                  if f"{group_of(name)}{k}" in self.root]  # fmt: skip
        found = [Level(arrays[0])]
        for array in arrays[1:]:
            steps = steps_between(found[-1].shape, Level(array).shape)
            if steps is not None:
                found.append(Level(array, steps=steps))
        return found

    def is_whole(self, name: str) -> bool:
        """Return whether a mask or an error estimate has all the levels that we give it."""
        return len(self.part(name)) == len(levels(self.grid))

    def make_part(self, name: str) -> None:
        """Add a mask or an error estimate that says nothing yet."""
        kind, grid = self.root.metadata.zarr_format, self.grid
        dtype = np.dtype(np.uint8 if name in MASKS else np.float32)
        for number, level in enumerate(levels(grid)):
            create(self.root, f"{group_of(name)}{number}", level.shape(grid.shape), CHUNK, dtype, sparse=True)
        metadata = image_metadata(name, grid, mask=name in MASKS, zarr_format=kind)
        self.root[group_of(name).rstrip("/")].attrs.update(metadata)
        if name in MASKS:
            self.list_masks(adding=name)

    def list_masks(self, *, adding: str = "", dropping: str = "") -> None:
        """Say in the group of labels that there is one more, or one less; without any the group goes."""
        group, kind = self.root["labels"], self.root.metadata.zarr_format
        said = group.attrs.get("ome", group.attrs).get("labels", [])
        names = [name for name in said if name not in (adding, dropping)] + ([adding] if adding else [])
        if names or list(group.group_keys()):
            group.attrs.update(label_list(names, kind))
        else:
            del self.root["labels"]

    def drop_part(self, name: str) -> None:
        """Take a mask or an error estimate away."""
        place = group_of(name).rstrip("/")
        if place in self.root:
            del self.root[place]
        if name in MASKS and "labels" in self.root:
            self.list_masks(dropping=name)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The patches it holds, the last one put in last.

        Raises:
            InputError: it makes no sense.
        """
        said = self.root.attrs.get(PATCHES, [])
        if not isinstance(said, list) or not all(
            isinstance(e, Mapping) and {"id", "state", "made"} <= set(e) for e in said
        ):
            raise InputError(f"{self.path} says of the patches in it what makes no sense: {str(said)[:80]}")
        return [dict(entry) for entry in said]

    def note(self, log: Sequence[Mapping[str, Any]], record: Mapping[str, Any] | None) -> None:
        """Say of it which patches it holds and what made it, both at once."""
        before = self.root.attrs.asdict()
        said = {key: value for key, value in before.items() if key not in (PATCHES, RECORD)}
        said |= ({PATCHES: list(log)} if log else {}) | ({} if record is None else {RECORD: dict(record)})
        if said != before:
            self.root.attrs.put(said)
            self.sync([])

    def sync(self, keys: Sequence[str]) -> None:
        """Wait until chunks, by key, and what the root says of itself are on the disk; what a kill cut off goes."""
        files = [self.path / key for key in (*keys, *METADATA_NAMES)]
        sync_files(files, self.path)
        for folder in {file.parent for file in files}:
            for cut in folder.glob("*.partial"):
                cut.unlink(missing_ok=True)

    def finish(self) -> None:
        """Tell anew what all of it consists of, where it was told in one place."""
        if self.holds_parts and _is_consolidated(self.path):
            with warnings.catch_warnings(action="ignore"):  # Zarr v3 has no word on it yet
                zarr.consolidate_metadata(str(self.path), zarr_format=self.root.metadata.zarr_format)


def coarser(box: Block, steps: Shape, shape: Shape) -> Block:
    """Return which voxels of a coarser level a box has a say in."""
    cuts = [
        slice(cut.start // n, min(-(-cut.stop // n), length)) for cut, n, length in zip(box, steps, shape, strict=True)
    ]
    return cuts[0], cuts[1], cuts[2]


def _is_consolidated(path: Path) -> bool:
    if (path / ".zmetadata").is_file():
        return True
    root = zarr.open_group(store=str(path), mode="r")
    return root.metadata.consolidated_metadata is not None
