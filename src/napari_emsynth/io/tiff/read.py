"""Reading TIFF, ImageJ TIFF and OME-TIFF: a volume, with what the file says of it.

Laws: no voxel is decoded before it is asked for; a size whose unit is not a length (ImageJ's default inch, pixel), or
that is no number, is unknown.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.grid import Grid, Triple
from napari_emsynth.io.choice import EVERYTHING, Choice
from napari_emsynth.io.content import MARKS
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.io.tiff.pages import Absent, Pages
from napari_emsynth.io.tiff.stack import Image, Stack, images, opened, part_of, reopened, stack_of
from napari_emsynth.io.units import nm_per, number, plausible, stated_nm
from napari_emsynth.io.url import stem_of
from napari_emsynth.volume import Known, Volume

NAMESPACE = "napari-emsynth/provenance"
NOWHERE: Triple = (0.0, 0.0, 0.0)


def read_tiff(path: Path, choice: Choice = EVERYTHING) -> Volume:
    """Read a TIFF as a volume.

    Raises:
        ChoiceError: it holds several images, channels or times, and none is chosen.
        InputError: not a TIFF, damaged, or not one stack of grey sections.
    """
    with opened(path) as tif:
        ours, found = NAMESPACE in (tif.ome_metadata or ""), images(tif, path)
        stack = stack_of(tif, found, path, choice, single=ours)
        marks = _marks(tif, found, path) if ours else {}
        if stack.is_sparse:
            absent = Absent(path, stack.shape, np.dtype(np.uint8), reopened(choice), (tif, stack.planes))
            marks.setdefault("empty", Stored(path, absent, _files(stack)))
        volume = _volume(tif, path, stack, reopened(choice))
        return replace(volume, known=Known.of(_record(tif), marks))


def read_tiff_part(path: Path, name: str) -> Volume | None:
    """Read the image called ``name``, or return None when the file has none."""
    with opened(path) as tif:
        found = images(tif, path)
        if not any(image.index and image.name == name for image in found):
            return None
        return _volume(tif, path, part_of(found, path, name), reopened(EVERYTHING, name))


def read_tiff_record(path: Path) -> dict[str, Any] | None:
    """Return the provenance in the file, or None."""
    with opened(path) as tif:
        return _record(tif)


def _marks(tif: Any, found: Sequence[Image], path: Path) -> dict[str, Any]:
    """Return what the file holds of earlier steps, by name."""
    names = [image.name for image in found if image.index and image.name in MARKS]
    parts = {name: part_of(found, path, name) for name in names}
    return {name: _stored(tif, path, part, reopened(EVERYTHING, name)) for name, part in parts.items()}


def _stored(tif: Any, path: Path, stack: Stack, plan: Any) -> Stored:
    return Stored(path, Pages(path, stack.shape, stack.dtype, plan, (tif, stack.planes)), _files(stack))


def _files(stack: Stack) -> list[str]:
    """Return the files that hold the pages: an OME-TIFF may be many."""
    return sorted({plane.page.parent.filehandle.path for plane in stack.planes if plane.page is not None})


def _volume(tif: Any, path: Path, stack: Stack, plan: Any) -> Volume:
    """Return a stack as a volume, its voxels not yet read."""
    size, origin = _size_nm(tif, stack)
    grid = Grid(shape=stack.shape, voxel_nm=size, origin_nm=origin)
    return Volume(_stored(tif, path, stack, plan), grid, stem_of(path), {"path": str(path), "notices": stack.notices})


# --------------------------------------------------------------------------------------- voxel size


def _size_nm(tif: Any, stack: Stack) -> tuple[Triple | None, Triple]:
    """Return voxel size and origin in nm as the file states them."""
    size, origin = _stated(tif, stack.image.index)
    full = tif.series[stack.image.index].keyframe if stack.image.index < len(tif.series) else stack.image.first
    if size is None or not full.imagelength or not full.imagewidth:
        return size, origin
    # A coarser copy covers the same field of view with fewer pixels.
    y, x = full.imagelength / stack.shape[1], full.imagewidth / stack.shape[2]
    shifted = (origin[0], origin[1] + (y - 1) * size[1] / 2, origin[2] + (x - 1) * size[2] / 2)
    return plausible((size[0], size[1] * y, size[2] * x)), shifted


def _stated(tif: Any, index: int) -> tuple[Triple | None, Triple]:
    if tif.ome_metadata:
        return _ome_size(_xml(tif), index)
    if tif.is_imagej:
        return _imagej_size(tif, tif.imagej_metadata), NOWHERE
    shaped = tif.shaped_metadata
    if not shaped:
        return None, NOWHERE
    return stated_nm(shaped[0]) or _imagej_size(tif, shaped[0]), NOWHERE


def _imagej_size(tif: Any, said: dict[str, Any] | None) -> Triple | None:
    """Return the size from ImageJ's ``spacing`` and units, and pixels per unit in the tags.

    ``unit`` is that of x; y and z have it too, unless ``yunit`` and ``zunit`` say otherwise.
    """
    tags, said = tif.pages[0].tags, said or {}
    units = [nm_per(said.get(f"{axis}unit", said.get("unit"))) for axis in "zyx"]

    def lateral(tag: str, factor: float | None) -> float | None:
        above, below = tags[tag].value if tag in tags else (0, 1)
        return factor * below / above if above and factor else None

    spacing = number(said.get("spacing"))
    return plausible((
        abs(spacing) * units[0] if spacing is not None and units[0] else None,
        lateral("YResolution", units[1]), lateral("XResolution", units[2]),
    ))  # fmt: skip


def _xml(tif: Any) -> ET.Element:
    try:
        return ET.fromstring(tif.ome_metadata)
    except ET.ParseError:
        return ET.Element("OME")


def _ome_size(xml: ET.Element, index: int) -> tuple[Triple | None, Triple]:
    """Return size and origin from the OME-XML of image ``index``."""
    pixels = xml.findall("{*}Image/{*}Pixels")
    if index >= len(pixels):
        return None, NOWHERE
    this = pixels[index]

    def length(element: ET.Element, name: str, unit: str) -> float | None:
        value, factor = number(element.get(name)), nm_per(element.get(f"{name}Unit", unit))
        return value * factor if value is not None and factor else None

    size = plausible([length(this, f"PhysicalSize{a}", "µm") for a in "ZYX"])
    plane = this.find("{*}Plane")
    z, y, x = (None if plane is None else length(plane, f"Position{a}", "") for a in "ZYX")
    return size, NOWHERE if z is None or y is None or x is None else (z, y, x)


def _record(tif: Any) -> dict[str, Any] | None:
    """Return the provenance annotation, or None.

    Raises:
        InputError: it is damaged.
    """
    if not tif.ome_metadata or NAMESPACE not in tif.ome_metadata:
        return None
    for note in _xml(tif).iter():
        if note.get("Namespace") == NAMESPACE:
            with opening(tif.filehandle.path, "a file with a provenance record"):
                value = json.loads(note.findtext("{*}Value", "null"))
            return value if isinstance(value, dict) else None
    return None
