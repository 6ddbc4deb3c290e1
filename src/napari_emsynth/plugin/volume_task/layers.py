"""The layers of a result on a grid of its own: where they lie, how they look. Nothing is shown here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image

from napari_emsynth.plugin.layers.convert import Placement, told, voxel_translate
from napari_emsynth.plugin.layers.results import mask_layer, uncertainty_layer
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.volume_task.settings import VolumeSettings


def placed(layer: Any, settings: VolumeSettings) -> Placement:
    """Return the layer's placement with voxels of another size, so that the result lies upon it."""
    placement = Placement.of(layer)
    return replace(placement, space={**placement.space, **moved_space(layer, settings)})


def moved_space(layer: Any, settings: VolumeSettings) -> dict[str, Any]:
    """Return scale and translation of a result, as keyword arguments of any layer with three axes.

    Point sampling keeps section centres: the translation stays. Slab sampling keeps faces, and smaller pixels keep the
    outer edges: it moves along the layer's own axes.
    """
    z, y, x = (float(s) for s in layer.scale[-3:])
    translate = tuple(float(t) for t in voxel_translate(layer, settings.offset))
    return {"scale": settings.voxel((z, y, x)), "translate": translate}


def build_volume_layers(outcome: VolumeOutcome, placement: Placement) -> list[Any]:
    """Return the result's layer and, as asked for, its mask and uncertainty; for the worker thread, see
    ``build_layers``.
    """
    result = outcome.result
    file = {} if outcome.path is None else {"path": str(outcome.path)}
    layers = [Image(result.volume.data, metadata={**file, **told(result.volume)}, **placement.space, **placement.look)]
    if outcome.settings.with_mask:
        mask = mask_layer(result, placement)
        # A tint over everything would tell nothing and veil the picture.
        mask.visible = not redrawn_throughout(outcome)
        layers.append(mask)
    if outcome.settings.with_uncertainty and result.uncertainty is not None:
        layers.append(uncertainty_layer(result, placement))
    return layers


def redrawn_throughout(outcome: VolumeOutcome) -> bool:
    """True when no voxel of the result was acquired, or moved from where it was."""
    if outcome.result.displacement is not None:
        return False
    made = {entry["section"] for entry in outcome.result.provenance["sections"]}
    return len(made) >= outcome.result.volume.shape[0]
