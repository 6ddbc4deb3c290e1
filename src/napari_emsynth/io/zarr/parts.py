"""The arrays and groups of an OME-Zarr that we write: where each part lies, how it is made, what it says of itself.

Conventions: the volume's levels lie in the root, the masks in ``labels/``, other parts in image groups of their own.
Metadata are those of OME-Zarr 0.5 in Zarr v3, and of 0.4 in Zarr v2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from napari_emsynth.grid import Grid, Shape
from napari_emsynth.io.content import MASKS, Block
from napari_emsynth.io.zarr.levels import levels

RGBA = {"synthetic": [255, 0, 255, 128], "empty": [128, 128, 128, 255]}
# An array of more chunks than this has many of them in one file: so many along z, y, x.
MOST_FILES = 16_384
SHARD = (1, 4, 4)
# How Zarr v2 names its chunks where OME has a say.
SLASHES = {"name": "v2", "separator": "/"}


def group_of(name: str) -> str:
    """Return the group of a part, with its slash; the volume's is the root."""
    return "" if name == "volume" else f"labels/{name}/" if name in MASKS else f"{name}/"


def fitting(chunk: Shape, shape: Shape) -> Shape:
    """Return chunks that are no larger than the array."""
    z, y, x = (min(c, n) for c, n in zip(chunk, shape, strict=True))
    return z, y, x


def shard_shape(shape: Shape, chunk: Shape) -> Shape | None:
    """Return what goes into one file of a stack of many chunks; None where each chunk is a file of its own.

    Args:
        shape: of the array.
        chunk: of its chunks.
    """
    chunk = fitting(chunk, shape)
    if math.prod(-(-n // c) for n, c in zip(shape, chunk, strict=True)) <= MOST_FILES:
        return None
    z, y, x = (c * min(k, -(-n // c)) for n, c, k in zip(shape, chunk, SHARD, strict=True))
    return None if (z, y, x) == chunk else (z, y, x)


def create(
    root: Any, name: str, shape: Shape, chunk: Shape, dtype: np.dtype[Any], *, sparse: bool, sharded: bool = False
) -> Any:
    """Make an array [z, y, x] of zeros, in place of one that is there.

    Args:
        root: the Zarr group.
        name: of the array in it, with the groups that it lies in.
        shape: of the array.
        chunk: of its chunks, cut to the array.
        dtype: of its voxels.
        sparse: chunks of zeros are left out of the file.
        sharded: many chunks go into one file, see :func:`shard_shape`.
    """
    named = {"dimension_names": ["z", "y", "x"]} if root.metadata.zarr_format == 3 else {"chunk_key_encoding": SLASHES}
    shards = shard_shape(shape, chunk) if sharded else None
    return root.create_array(
        name,
        shape=shape,
        chunks=fitting(chunk, shape),
        shards=shards,
        dtype=dtype,
        fill_value=0,
        overwrite=True,
        config={"write_empty_chunks": not sparse},
        **named,
    )


def stored_keys(array: Any, block: Block | tuple[slice, ...]) -> Iterator[str]:
    """Yield the keys, in the store, of the chunks (the shards, where there are) that hold a block of an array."""
    edges = array.shards or array.chunks
    cuts = [range(s.start // n, -(-s.stop // n)) for s, n in zip(block, edges, strict=True)]
    for place in product(*cuts):
        yield "/".join(part for part in (array.path, array.metadata.encode_chunk_key(place)) if part)


# ------------------------------------------------------------------------------------------- metadata


def image_metadata(
    name: str, grid: Grid, *, mask: bool = False, labels: bool = False, zarr_format: int = 3
) -> dict[str, Any]:
    """Return the attributes of an image group.

    Args:
        name: of the image, or of the mask.
        grid: of its finest level.
        mask: voxels are 0 and 1.
        labels: voxels are ids.
        zarr_format: 2 or 3.
    """
    shown: dict[str, Any] = {}
    if mask:
        shown = {
            "colors": [{"label-value": 1, "rgba": RGBA[name]}],
            "properties": [{"label-value": 1, "class": name}],
            "source": {"image": "../../"},
        }
    about = {"image-label": shown} if mask or labels else {}
    if zarr_format == 3:
        return {"ome": {"version": "0.5", "multiscales": [multiscale(name, grid)], **about}}
    old = {"version": "0.4"}
    return {"multiscales": [old | multiscale(name, grid)], **{key: old | said for key, said in about.items()}}


def label_list(names: Sequence[str], zarr_format: int = 3) -> dict[str, Any]:
    """Return the attributes of the group of labels."""
    return {"ome": {"version": "0.5", "labels": list(names)}} if zarr_format == 3 else {"labels": list(names)}


def multiscale(name: str, grid: Grid) -> dict[str, Any]:
    """Return the OME metadata of one image: axes, and scale and translation of every level."""
    voxel = grid.voxel_nm or (1.0, 1.0, 1.0)
    unit = {"unit": "nanometer"} if grid.voxel_nm else {}
    datasets = []
    for number, level in enumerate(levels(grid)):
        scale = [v * f for v, f in zip(voxel, level.factors, strict=True)]
        shift = [o + (s - v) / 2 for o, s, v in zip(grid.origin_nm, scale, voxel, strict=True)]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    axes = [{"name": a, "type": "space", **unit} for a in "zyx"]
    return {"name": name, "axes": axes, "datasets": datasets}
