"""Writing OME-TIFF, one slab of sections at a time.

Layout: series 0 the volume, uncompressed so that it can be memory-mapped again, then the series ``synthetic``,
``uncertainty`` and ``empty``, compressed; the provenance is a comment annotation in the OME-XML.

Laws: voxels round-trip bit-identically; writing holds one slab of sections.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
import tifffile

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.io.atomic import Work, check_room
from napari_emsynth.io.content import Content, slabs
from napari_emsynth.io.tiff.read import NAMESPACE
from napari_emsynth.spec import CancelToken, Progress
from napari_emsynth.volume import Array

OME_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


def write_tiff(content: Content, work: Work, progress: Progress, cancel: CancelToken | None) -> None:
    """Write an OME-TIFF, one slab of sections at a time.

    The series lie one after another in the file, yet are computed together: what belongs to later series
    waits, compressed, beside the file.

    Raises:
        InputError: a voxel type that OME-TIFF cannot hold, or no room on the disk.
        Cancelled: asked for between slabs.
    """
    check_dtype(content.volume.dtype)
    work.clear()
    check_room(work.target, math.prod(content.volume.shape) * content.volume.dtype.itemsize)
    size = math.prod(content.volume.shape) * content.voxel_bytes
    later = [name for name in content.parts if name != "volume"]
    spools = {name: (work.folder / name).open("w+b") for name in later}
    try:
        # Classic TIFF ends at 4 GiB; 1 % and 16 MiB are room for page headers and for masks that do not
        # compress.
        # The file is ours, so that it is closed even when the writer fails to finish.
        big = size * 1.01 + (1 << 24) > 1 << 32
        with work.data.open("w+b") as file, tifffile.TiffWriter(file, bigtiff=big, ome=True) as tiff:
            sections = _sections(content, spools, progress, cancel)
            tiff.write(sections, **_options(content, "volume"))
            for name in later:
                tiff.write(_unspool(spools[name], content, name), compression="zlib", **_options(content, name))
    finally:
        for spool in spools.values():
            spool.close()


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse voxels that OME-TIFF cannot hold.

    Raises:
        InputError: 64-bit integers, booleans, half floats.
    """
    if dtype.name not in OME_DTYPES:
        raise InputError(f"voxels of type {dtype} do not fit OME-TIFF; write .ome.zarr instead")


def _sections(
    content: Content, spools: Mapping[str, IO[bytes]], progress: Progress, cancel: CancelToken | None
) -> Iterator[Array]:
    """Yield the volume's sections [y, x]; put the other parts' into their spools."""
    total = content.volume.shape[0]
    for slab in slabs(content):
        if cancel is not None:
            cancel.check()
        parts = content.read((slab, slice(None), slice(None)))
        for name, spool in spools.items():
            for section in parts[name]:
                packed = zlib.compress(section.tobytes(), 1)
                spool.write(len(packed).to_bytes(8, "little") + packed)
        yield from parts["volume"]
        progress(slab.stop, total, "sections written")


def _unspool(spool: IO[bytes], content: Content, name: str) -> Iterator[Array]:
    """Yield the sections [y, x] that wait in a spool."""
    spool.seek(0)
    for _ in range(content.volume.shape[0]):
        packed = spool.read(int.from_bytes(spool.read(8), "little"))
        yield np.frombuffer(zlib.decompress(packed), content.dtype(name)).reshape(content.volume.shape[1:])


def _options(content: Content, name: str) -> dict[str, Any]:
    """Return what the writer is told of one series."""
    grid = content.volume.grid
    said: dict[str, Any] = {"axes": "ZYX", "Name": (content.volume.name or "volume") if name == "volume" else name}
    options: dict[str, Any] = {
        "shape": grid.shape, "dtype": content.dtype(name), "photometric": "minisblack", "metadata": said,
    }  # fmt: skip
    if grid.voxel_nm is not None:
        for axis, size in zip("ZYX", grid.voxel_nm, strict=True):
            said |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
        options |= {"resolution": (1e7 / grid.voxel_nm[2], 1e7 / grid.voxel_nm[1]), "resolutionunit": "CENTIMETER"}
    if any(grid.origin_nm):
        said["Plane"] = _positions(grid)
    if name == "volume":  # null marks a file of ours that has no record: one section of it is still a volume
        said["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": json.dumps(content.provenance)}
    return options


def _positions(grid: Grid) -> dict[str, list[Any]]:
    """Return the place of every section in nm, as OME keeps an origin."""
    count, step = grid.shape[0], grid.voxel_nm[0] if grid.voxel_nm else 0.0
    z, y, x = grid.origin_nm
    places = {"PositionX": [x] * count, "PositionY": [y] * count, "PositionZ": [z + i * step for i in range(count)]}
    return places | {f"{name}Unit": ["nm"] * count for name in places}
