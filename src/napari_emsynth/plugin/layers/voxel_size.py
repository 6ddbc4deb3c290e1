"""The voxel size of a layer that does not state it, as the user knows it.

Laws: layers that lie upon each other still do; the same section stays on the screen; one step of history takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple, check_voxel_nm
from napari_emsynth.plugin.layers.convert import current_section, find_layer, full_data, show_section
from napari_emsynth.plugin.layers.view_3d import fit_to_view

Space = tuple[tuple[float, ...], tuple[Any, ...]]


@dataclass(frozen=True)
class StatedVoxelSize:
    """Scale and units of some layers were changed.

    Args:
        title: of the step.
        before: scale and units by the layer's unique id.
        after: the same, as they are then.
    """

    title: str
    before: dict[Any, Space]
    after: dict[Any, Space]

    def undo(self, viewer: Any) -> None:
        """Put the old ones back."""
        _put(viewer, self.before)

    def redo(self, viewer: Any) -> None:
        """Put the new ones in again."""
        _put(viewer, self.after)


def parse_voxel_nm(text: str) -> Triple:
    """Return a voxel size (z, y, x) in nm as people write it: "30, 10, 10" or "30 x 10 x 10".

    Raises:
        InputError: not three numbers, or none of microscopy.
    """
    words = text.replace("x", " ").replace(",", " ").replace("nm", " ").split()
    try:
        found = check_voxel_nm([float(word) for word in words])
    except ValueError as reason:
        raise InputError(f"voxel size {text!r} is not three numbers z, y, x in nm") from reason
    assert found is not None
    return found


def guessed_nm(layer: Any) -> str:
    """Return what the voxel size of a layer may be, as text to be confirmed: its scale, where that says anything."""
    scale = [abs(float(s)) for s in layer.scale[-3:]]
    return "" if scale == [1.0, 1.0, 1.0] else ", ".join(f"{s:g}" for s in scale)


def state_voxel_nm(viewer: Any, layer: Any, voxel_nm: Triple) -> StatedVoxelSize:
    """Give a layer, and those of the same voxels, a voxel size in nm; return the step.

    Args:
        viewer: theirs.
        layer: the chosen one.
        voxel_nm: (z, y, x).
    """
    shape, scale = full_data(layer).shape[-3:], tuple(layer.scale[-3:])
    before, after = {}, {}
    for other in viewer.layers:
        same = other.ndim >= 3 and hasattr(other, "multiscale") and full_data(other).shape[-3:] == shape
        if not same or tuple(other.scale[-3:]) != scale:
            continue
        before[other.unique_id] = (tuple(other.scale), tuple(other.units))
        after[other.unique_id] = ((*tuple(other.scale)[:-3], *voxel_nm), (*tuple(other.units)[:-3], "nm", "nm", "nm"))
    step = StatedVoxelSize(f"State the voxel size of {layer.name!r}", before, after)
    step.redo(viewer)
    return step


def _put(viewer: Any, spaces: dict[Any, Space]) -> None:
    there = [(layer, space) for key, space in spaces.items() if (layer := find_layer(viewer, key)) is not None]
    if not there:
        return
    section = current_section(viewer, there[0][0])
    for layer, (scale, units) in there:
        layer.scale, layer.units = scale, units
    # What is on the screen lies elsewhere now.
    show_section(viewer, there[0][0], section)
    fit_to_view(viewer)
