"""TIFF, ImageJ TIFF and OME-TIFF.

Conventions: read memory-mapped when the file allows, else section by section as it is asked for. Written as
OME-TIFF: series 0 the volume, uncompressed so that it can be memory-mapped again, then the series
``synthetic`` and ``uncertainty``, compressed; the provenance is a comment annotation in the OME-XML.

Laws: voxels round-trip bit-identically; a size whose unit is not a length (ImageJ's default inch, pixel) is
unknown; writing holds one slab of sections.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape, Triple
from napari_emsynth.io.atomic import Work, check_room
from napari_emsynth.io.content import MARKS, Content, slabs, stem
from napari_emsynth.io.pages import Pages
from napari_emsynth.io.units import nm_per, plausible, stated_nm
from napari_emsynth.spec import CancelToken, Progress
from napari_emsynth.volume import Array, Known, Volume

NAMESPACE = "napari-emsynth/provenance"
OME_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")


# ------------------------------------------------------------------------------------------ reading


def read_tiff(path: Path) -> Volume:
    """Read the first image series of a TIFF as a volume.

    Raises:
        InputError: not a TIFF, damaged, or not one stack of grey sections.
    """
    with _opened(path) as tif:
        marks = {s.name: _volume(tif, path, i).data for i, s in enumerate(tif.series) if i and s.name in MARKS}
        return replace(_volume(tif, path, 0), known=Known.of(_record(tif), marks))


def read_tiff_part(path: Path, name: str) -> Volume | None:
    """Read the image series called ``name``, or return None when the file has none."""
    with _opened(path) as tif:
        for index, series in enumerate(tif.series):
            if index and series.name == name:
                return _volume(tif, path, index)
    return None


def read_tiff_record(path: Path) -> dict[str, Any] | None:
    """Return the provenance in the file, or None."""
    with _opened(path) as tif:
        return _record(tif)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a TIFF; what is wrong with it becomes one line."""
    said: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    log = logging.getLogger("tifffile")
    log.addFilter(collect)
    try:
        with tifffile.TiffFile(path) as tif:
            yield tif
        # The library only logs that pages are missing and goes on with those it found.
        if any("invalid page offset" in line for line in said):
            raise InputError(f"{path} is cut short: pages are missing from its end")
    except InputError:
        raise
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise InputError(f"{path} cannot be read as TIFF: {error or 'no image in it'}") from error
    finally:
        log.removeFilter(collect)


def _volume(tif: Any, path: Path, index: int) -> Volume:
    """Return one series as a volume, its voxels not yet read."""
    series = tif.series[index]
    alone = index == 0 and _one_section_each(tif)
    shape = _shape(series, path, alone, ours=NAMESPACE in (tif.ome_metadata or ""))
    voxel_nm, origin_nm = _size_nm(tif, index)
    data = _mapped(series, path, shape) if not alone else None
    if data is None:
        _check_end(tif.pages if alone else series.pages, path)
        if not alone and len(series.pages) != shape[0]:
            raise InputError(f"{path} keeps {shape[0]} sections in {len(series.pages)} pages; save one section a page")
        data = _lazy(Pages(path, None if alone else index, shape, np.dtype(series.dtype)))
    grid = Grid(shape=shape, voxel_nm=voxel_nm, origin_nm=origin_nm)
    return Volume(data, grid, stem(path), {"path": str(path)})


def _one_section_each(tif: Any) -> bool:
    """Return True for a file written section by section: several series, each one grey page, all alike."""
    kinds = {(s.get_shape(True), str(s.dtype), s.get_axes(True)) for s in tif.series}
    return len(tif.series) > 1 and len(kinds) == 1 and next(iter(kinds))[2] == "YX" and not tif.is_ome


def _shape(series: Any, path: Path, alone: bool, ours: bool) -> Shape:
    """Return sections, rows, columns of a series.

    Raises:
        InputError: one section only, colour, or more axes.
    """
    if alone:
        y, x = series.get_shape(True)
        return (len(series.parent.series), y, x)
    axes, full = series.get_axes(False), series.get_shape(False)
    said = f"{path} has shape {series.get_shape(True)}"
    if "S" in axes and full[axes.index("S")] > 1:
        raise InputError(f"{said}, which is colour; needs grey sections z, y, x")
    if axes[-1:] == "S":
        axes, full = axes[:-1], full[:-1]
    stacked = [n for n in full[:-2] if n > 1]
    if len(stacked) > 1:
        raise InputError(f"{said} (axes {series.get_axes(True)}), needs 3 axes z, y, x: choose one channel and time")
    if not stacked and not ours:
        raise InputError(f"{said}, which is one section; a volume needs z, y, x")
    return (stacked[0] if stacked else 1, full[-2], full[-1])


def _mapped(series: Any, path: Path, shape: Shape) -> Array | None:
    """Return the series memory-mapped, or None when it is compressed or scattered.

    Raises:
        InputError: the file is shorter than it says.
    """
    if series.dataoffset is None:
        return None
    dtype = np.dtype(series.dtype).newbyteorder(series.parent.byteorder)
    if series.dataoffset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise InputError(f"{path} is cut short: it holds less than the {shape} voxels it states")
    return np.memmap(path, dtype, "r", series.dataoffset, shape)


def _check_end(pages: Any, path: Path) -> None:
    """Refuse a file that ends before its last page does."""
    last = pages[-1]
    ends = [o + n for o, n in zip(last.dataoffsets, last.databytecounts, strict=True)] if last is not None else []
    if max(ends, default=0) > path.stat().st_size:
        raise InputError(f"{path} is cut short: its last section is incomplete")


def _lazy(pages: Pages) -> Any:
    """Return a dask array, one section a chunk."""
    import dask.array as da

    _, y, x = pages.shape
    return da.from_array(pages, chunks=(1, y, x), name=False, asarray=True, meta=np.empty((0, 0, 0), pages.dtype))


# --------------------------------------------------------------------------------------- voxel size


def _size_nm(tif: Any, index: int) -> tuple[Triple | None, Triple]:
    """Return voxel size and origin in nm as the file states them."""
    if tif.ome_metadata:
        return _ome_size(_xml(tif), index)
    if tif.is_imagej:
        return _imagej_size(tif, tif.imagej_metadata), (0.0, 0.0, 0.0)
    shaped = tif.shaped_metadata
    if not shaped:
        return None, (0.0, 0.0, 0.0)
    return stated_nm(shaped[0]) or _imagej_size(tif, shaped[0]), (0.0, 0.0, 0.0)


def _imagej_size(tif: Any, said: dict[str, Any] | None) -> Triple | None:
    """Return the size from ImageJ's ``spacing`` and ``unit``, and pixels per unit in the tags."""
    tags = tif.pages[0].tags
    factor = nm_per((said or {}).get("unit"))
    spacing = (said or {}).get("spacing")
    if factor is None or not isinstance(spacing, (int, float)):
        return None

    def lateral(tag: str) -> float | None:
        above, below = tags[tag].value if tag in tags else (0, 1)
        return factor * below / above if above else None

    return plausible((abs(spacing) * factor, lateral("YResolution"), lateral("XResolution")))


def _xml(tif: Any) -> ET.Element:
    try:
        return ET.fromstring(tif.ome_metadata)
    except ET.ParseError:
        return ET.Element("OME")


def _ome_size(xml: ET.Element, index: int) -> tuple[Triple | None, Triple]:
    """Return size and origin from the OME-XML of image ``index``."""
    pixels = xml.findall("{*}Image/{*}Pixels")
    if index >= len(pixels):
        return None, (0.0, 0.0, 0.0)
    this = pixels[index]

    def length(element: ET.Element, name: str, unit: str) -> float | None:
        value, factor = element.get(name), nm_per(element.get(f"{name}Unit", unit))
        return float(value) * factor if value and factor else None

    size = plausible([length(this, f"PhysicalSize{a}", "µm") for a in "ZYX"])
    plane = this.find("{*}Plane")
    where = [length(plane, f"Position{a}", "") for a in "ZYX"] if plane is not None else []
    origin = (where[0], where[1], where[2]) if where and None not in where else (0.0, 0.0, 0.0)
    return size, origin  # type: ignore[return-value]


def _record(tif: Any) -> dict[str, Any] | None:
    """Return the provenance annotation, or None."""
    if not tif.ome_metadata or NAMESPACE not in tif.ome_metadata:
        return None
    for note in _xml(tif).iter():
        if note.get("Namespace") == NAMESPACE:
            value = json.loads(note.findtext("{*}Value", "null"))
            return value if isinstance(value, dict) else None
    return None


# ------------------------------------------------------------------------------------------ writing


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
