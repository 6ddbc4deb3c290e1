"""File > Open: what was exported comes back as it was: voxel size, units, synthetic mask, uncertainty, record.

Laws: an export that is opened lies where the exported layer lay, and says of itself what that layer said; of a file
with several images, channels or times each becomes a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_emsynth.io.choice import Choice, ChoiceError
from napari_emsynth.io.url import Location, location, stem_of
from napari_emsynth.plugin.export.patches import over_any
from napari_emsynth.plugin.jobs.notify import info
from napari_emsynth.plugin.layers.convert import told
from napari_emsynth.plugin.layers.results import mask_look, uncertainty_look
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.volume import Volume

LayerData = tuple[Any, dict[str, Any], str]
# A share of the values at either end that may be cut off: dirt and charging do not set the contrast.
PERCENTILES = (0.1, 99.9)
# A file of more images, channels or times than this is not opened all at once.
MOST_PARTS = 16
# Sections that are read for the contrast, at most.
LOOKED_AT = 5


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the reader; None for several files at once, which are no volume."""
    return read_layers if isinstance(path, str) else None


def read_layers(path: str) -> list[LayerData]:
    """Read a volume and, where it has them, its mask and uncertainty; lazily.

    Raises:
        InputError: damaged, or not volumes z, y, x of grey voxels.
    """
    from napari_emsynth.io.patch import is_patch

    place = location(path)
    viewer = napari.current_viewer()
    if viewer is not None:
        install(viewer)
    if isinstance(place, Path) and is_patch(place):
        return [layer.as_layer_data_tuple() for layer in over_any(viewer, place)]
    volumes = parts_of(path, Choice())
    for line in dict.fromkeys(line for volume in volumes for line in volume.metadata.get("notices", ())):
        info(line)
    return [layer for volume in volumes for layer in _layers(place, volume)]


def parts_of(path: str, choice: Choice) -> list[Volume]:
    """Return every volume that a file holds, of what is chosen already.

    Raises:
        InputError: damaged, not volumes, or more than ``MOST_PARTS``.
    """
    from napari_emsynth import io

    try:
        return [io.read(path, **asdict(choice))]
    except ChoiceError as error:
        if len(error.choices) > MOST_PARTS:
            raise
        return [volume for chosen in error.choices for volume in parts_of(path, chosen)]


def _layers(path: Location, volume: Volume) -> list[LayerData]:
    mask, width = (
        None if volume.known is None else volume.known.marks.get(part) for part in ("synthetic", "uncertainty")
    )
    chosen = volume.metadata.get("chosen", {})
    name = " ".join([stem_of(path), *(f"{what} {index}" for what, index in chosen.items())])
    space, limits = space_of(volume), contrast_of(volume)
    metadata = {"path": str(path), **({"chosen": chosen} if chosen else {}), **told(volume)}
    layers = [(volume.data, {"name": name, "contrast_limits": limits, "metadata": metadata, **space}, "image")]
    if mask is not None:
        layers.append((mask, mask_look() | {"name": f"{name} synthetic", **space}, "image"))
    if width is not None:
        layers.append((width, uncertainty_look(limits) | {"name": f"{name} uncertainty", **space}, "image"))
    return layers


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
