"""A repair in the viewer: as layers of its own upon the source, or in its place.

Laws: no layer is overwritten, hidden or deleted by a result but by a repair in place, which can be undone; a result
lies exactly on its source and right above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from napari.layers import Image

from napari_emsynth.plugin.layers.convert import Placement, told, unwrap
from napari_emsynth.plugin.layers.history import ReplacedData
from napari_emsynth.plugin.layers.results import Shown, add_layers, mask_layer, uncertainty_layer
from napari_emsynth.plugin.restore.request import Outcome

RESTORED = r" restored( \[\d+\])?$"


def show_in_place(layer: Any, outcome: Outcome) -> Shown:
    """Exchange the layer's data for the result's."""
    before = (unwrap(layer.data), dict(layer.metadata))
    after = (outcome.result.volume.data, {**before[1], **told(outcome.result.volume)})
    step = ReplacedData(f"{outcome.request.title()} in place", layer, before, after)
    step.redo(None)
    return Shown(outcome, layer.unique_id, layer.unique_id, layer.name, step)


def build_layers(outcome: Outcome, placement: Placement) -> list[Any]:
    """Return the result's layer and, as asked for, its mask and uncertainty; nothing is shown yet.

    For the worker thread: a layer slices its data and makes a thumbnail when it is made, which takes 50 to 300 ms of
    a 1024 x 1024 stack, and computes a section of a lazy one.
    """
    result, settings = outcome.result, outcome.request.settings
    layers = [Image(result.volume.data, metadata=told(result.volume), **placement.space, **placement.look)]
    if settings.with_mask:
        layers.append(mask_layer(result, placement))
    if settings.with_uncertainty and result.uncertainty is not None:
        layers.append(uncertainty_layer(result, placement))
    return layers


def show_as_layer(
    viewer: Any,
    source: tuple[Any, str],
    outcome: Outcome,
    layers: list[Any],
    below: Collection[Any],
    then: Callable[[], None] = lambda: None,
) -> Shown:
    """Add the result above its source; mask and uncertainty follow, one a turn of the event loop.

    Args:
        viewer: where.
        source: unique id and name of the source layer (which may be gone by now).
        outcome: what to show.
        layers: from :func:`build_layers`.
        below: ids of the layers it must not lie under, see :func:`family`.
        then: called when the last layer was added.
    """
    source_id, name = source
    step = add_layers(viewer, restored_name(name), outcome.request.title(), layers, below, then)
    return Shown(outcome, layers[0].unique_id, source_id, name, step)


def restored_name(name: str) -> str:
    """Return what a result is called; that of a result is not "restored restored"."""
    return f"{re.sub(RESTORED, '', name)} restored"
