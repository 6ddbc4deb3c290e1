"""Reading TIFF, ImageJ TIFF and OME-TIFF.

Conventions: read memory-mapped when the file allows, else section by section as it is asked for.

Law: a size whose unit is not a length (ImageJ's default inch, pixel) is unknown.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape, Triple
from napari_emsynth.io.content import MARKS, stem
from napari_emsynth.io.tiff.pages import Pages
from napari_emsynth.io.units import nm_per, plausible, stated_nm
from napari_emsynth.volume import Array, Known, Volume

NAMESPACE = "napari-emsynth/provenance"


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
