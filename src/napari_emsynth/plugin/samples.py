"""File > Open sample: the bundled damaged stack and its truth."""

from __future__ import annotations

from typing import Any

import napari

from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.volume import Volume

LayerData = tuple[Any, dict[str, Any], str]


def damaged() -> list[LayerData]:
    """Return the damaged stack as layer data."""
    from napari_emsynth import samples

    return _layers(samples.damaged(), "damaged sample", {"path": str(samples.path())})


def truth() -> list[LayerData]:
    """Return the stack as it was acquired."""
    from napari_emsynth import samples

    return _layers(samples.truth(), "sample truth", {})


def _layers(volume: Volume, name: str, metadata: dict[str, Any]) -> list[LayerData]:
    viewer = napari.current_viewer()
    if viewer is not None:
        install(viewer)
    options = {
        "name": name,
        "scale": volume.grid.voxel_nm,
        "units": ("nm", "nm", "nm"),
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (0, 255),
        "metadata": metadata,
    }
    return [(volume.data, options, "image")]
