"""File > Open: what was exported comes back as it was: voxel size, units, synthetic mask, uncertainty, record.

Law: an export that is opened lies where the exported layer lay, and says of itself what that layer said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_emsynth.plugin.layers.convert import told
from napari_emsynth.plugin.layers.results import mask_look, uncertainty_look
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.volume import Volume

LayerData = tuple[Any, dict[str, Any], str]
# A share of the values at either end that may be cut off: dirt and charging do not set the contrast.
PERCENTILES = (0.1, 99.9)
# Sections that are read for the contrast, at most.
LOOKED_AT = 5


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the reader; None for several files at once, which are no volume."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str) -> list[LayerData]:
    """Read a volume and, where it has them, its mask and uncertainty; lazily.

    Raises:
        InputError: damaged, or not one volume z, y, x of grey voxels.
    """
    from napari_emsynth import io

    viewer = napari.current_viewer()
    if viewer is not None:
        install(viewer)
    volume = io.read(path)
    mask, width = (
        None if volume.known is None else volume.known.marks.get(part) for part in ("synthetic", "uncertainty")
    )
    name, space, limits = stem(Path(path)), space_of(volume), contrast_of(volume)
    metadata = {"path": str(path), **told(volume)}
    layers = [(volume.data, {"name": name, "contrast_limits": limits, "metadata": metadata, **space}, "image")]
    if mask is not None:
        layers.append((mask, mask_look() | {"name": f"{name} synthetic", **space}, "image"))
    if width is not None:
        layers.append((width, uncertainty_look(limits) | {"name": f"{name} uncertainty", **space}, "image"))
    return layers


def stem(path: Path) -> str:
    """Return a file's name without its endings."""
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def space_of(volume: Volume) -> dict[str, Any]:
    """Return where a volume lies, as keyword arguments of a layer."""
    labels = {"axis_labels": ("z", "y", "x")}
    grid = volume.grid
    if grid.voxel_nm is None:
        return labels
    return {"scale": grid.voxel_nm, "translate": grid.origin_nm, "units": ("nm", "nm", "nm"), **labels}


def contrast_of(volume: Volume) -> tuple[float, float]:
    """Return contrast limits: those of the type for 8 bits, else of what the middle section shows.

    Where that shows nothing the nearest that does says it; no more than :data:`LOOKED_AT` sections are read.
    """
    if volume.dtype.itemsize == 1:
        return (0.0, float(np.iinfo(volume.dtype).max) if volume.dtype.kind in "iu" else 1.0)
    from napari_emsynth.trust.validity import shown

    middle = volume.shape[0] // 2
    for z in sorted(range(volume.shape[0]), key=lambda z: abs(z - middle))[:LOOKED_AT]:
        section = shown(volume, z)
        values = section[np.isfinite(section)]
        if values.size:
            break
    else:
        return (0.0, 1.0)
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    return (low, high if high > low else low + 1.0)
