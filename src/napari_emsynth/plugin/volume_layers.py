"""The layers of a result on a grid of its own: where they lie, how they look. Nothing is shown here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image

from napari_emsynth.plugin.layers import PROVENANCE_KEY, Placement
from napari_emsynth.plugin.results import mask_layer
from napari_emsynth.plugin.volume_run import VolumeOutcome
from napari_emsynth.plugin.volume_settings import VolumeSettings


def placed(layer: Any, settings: VolumeSettings) -> Placement:
    """Return the layer's placement with sections of another thickness, so that the result lies upon it.

    Point sampling keeps section centres: the translation stays. Slab sampling keeps faces: it moves along the layer's
    own z axis.
    """
    placement = Placement.of(layer)
    scale = list(placement.space["scale"])
    scale[0] /= settings.section_scale
    origin = [0.0] * layer.ndim
    there = [*origin[:-3], settings.section_offset, 0.0, 0.0]
    move = np.subtract(layer.data_to_world(there), layer.data_to_world(origin))
    # The affine acts after the translation.
    linear = np.array(layer.affine.affine_matrix)[:-1, :-1]
    translate = np.asarray(layer.translate, float) + np.linalg.solve(linear, move)
    space = {**placement.space, "scale": tuple(scale), "translate": tuple(translate[-3:])}
    return replace(placement, space=space)


def build_volume_layers(outcome: VolumeOutcome, placement: Placement) -> list[Any]:
    """Return the result's layer and, as asked for, its mask; for the worker thread, see ``build_layers``."""
    result = outcome.result
    layers = [
        Image(
            result.volume.data,
            metadata={PROVENANCE_KEY: result.provenance},
            **placement.space,
            **placement.look,
        )
    ]
    if outcome.settings.with_mask:
        mask = mask_layer(result, placement)
        # A tint over everything would tell nothing and veil the picture.
        mask.visible = not redrawn_throughout(outcome)
        layers.append(mask)
    return layers


def redrawn_throughout(outcome: VolumeOutcome) -> bool:
    """True when no voxel of the result was acquired, or moved from where it was."""
    if outcome.result.displacement is not None:
        return False
    made = {entry["section"] for entry in outcome.result.provenance["sections"]}
    return len(made) >= outcome.result.volume.shape[0]
