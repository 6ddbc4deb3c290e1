"""Results in a viewer: the layers that show them and what comes with them, and the comparison with the original.

Laws: no layer is overwritten, hidden or deleted by a result; a result lies exactly on its source and right above it;
``layer.metadata["emsynth"]`` is the provenance record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from napari.layers import Image
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QTimer

from napari_emsynth.plugin.layers.convert import COMPANION_KEY, Placement, find_layer, full_data, unique_name
from napari_emsynth.plugin.layers.history import AddedLayers, ReplacedData, Step, put_data
from napari_emsynth.spec import Result

# Between two layers the window answers and paints: adding one takes napari 0.2 s at 1024 x 1024 (measured).
BREATH_MS = 30
# A faint gold tint: the mask must show what is synthetic without hiding it.
MASK_COLOURS, MASK_OPACITY = ((0.0, 0.0, 0.0, 0.0), (1.0, 0.843, 0.0, 1.0)), 0.07


@dataclass(frozen=True)
class Shown:
    """A result in the viewer.

    Args:
        outcome: what was computed.
        layer_id: of the layer that shows it.
        source_id: of the layer it was made from; the same one when in place.
        source_name: what the user called it then.
        step: in the history.
    """

    outcome: Any
    layer_id: Any
    source_id: Any
    source_name: str
    step: Step

    @property
    def result(self) -> Result:
        """The result itself."""
        result: Result = self.outcome.result
        return result


def add_layers(
    viewer: Any,
    name: str,
    title: str,
    layers: list[Any],
    below: Collection[Any],
    then: Callable[[], None] = lambda: None,
) -> AddedLayers:
    """Add a result's layer under a unique name; its companions follow, one a turn of the event loop.

    Args:
        viewer: where.
        name: of the first layer; the others are called after it.
        title: of the step in the history, which is returned.
        layers: the result first.
        below: ids of the layers it must not lie under.
        then: called when the last layer was added.
    """
    layer, *companions = layers
    layer.name = unique_name(viewer, name)
    step = AddedLayers(title, [layer])
    insert_above(viewer, layer, below)
    viewer.layers.selection.active = layer
    _add_later(viewer, layer, step, companions, then)
    return step


def _add_later(viewer: Any, layer: Any, step: AddedLayers, later: list[Any], then: Callable[[], None]) -> None:
    """Add companions one a turn: three layers at once would hold the window for too long."""
    if not later:
        then()
        return

    def turn() -> None:
        if find_layer(viewer, layer.unique_id) is None:
            # Undone, or removed, while we waited.
            then()
            return
        companion = later.pop(0)
        companion.name = unique_name(viewer, f"{layer.name} {companion.name}")
        insert_above(viewer, companion, {step.layers[-1].unique_id})
        step.layers.append(companion)
        viewer.layers.selection.active = layer
        _add_later(viewer, layer, step, later, then)

    QTimer.singleShot(BREATH_MS, turn)


def add_each(
    viewer: Any, title: str, layers: list[tuple[Any, Any]], then: Callable[[], None] = lambda: None
) -> AddedLayers:
    """Add layers, one a turn of the event loop, each above the one it was made from.

    Args:
        viewer: where.
        title: of the step in the history, which is returned; it grows with the layers.
        layers: new ones, under the names they should have, with the unique ids of what they were made from.
        then: called when the last one was added.
    """
    step = AddedLayers(title, [])
    waiting = list(layers)

    def turn() -> None:
        if not waiting:
            then()
            return
        layer, source_id = waiting.pop(0)
        layer.name = unique_name(viewer, layer.name)
        insert_above(viewer, layer, {source_id})
        step.layers.append(layer)
        QTimer.singleShot(BREATH_MS, turn)

    turn()
    return step


def insert_above(viewer: Any, layer: Any, below: Collection[Any]) -> None:
    """Insert a layer right above the topmost of some (by unique id), on top of all when they are gone."""
    places = [k for k, other in enumerate(viewer.layers) if other.unique_id in below]
    viewer.layers.insert(max(places, default=len(viewer.layers) - 1) + 1, layer)


def family(source_id: Any, shown: list[Shown]) -> set[Any]:
    """Return the ids of a layer and of everything that was made from it: a new result lies above them."""
    ids = {source_id}
    for record in shown:
        if record.source_id in ids and isinstance(record.step, AddedLayers):
            ids |= {layer.unique_id for layer in record.step.layers}
    return ids


def mask_layer(result: Result, placement: Placement) -> Any:
    """Return the synthetic mask as a layer that tints what was made up.

    An image, not labels: those come with drawing tools, for which the window stood still for 0.44 s the first time and
    0.13 s later (CPU time; an image takes 0.1 s).
    """
    return Image(result.synthetic.data, name="synthetic", **mask_look(), **placement.space)


def mask_look() -> dict[str, Any]:
    """Return how a mask looks, as keyword arguments of an image layer."""
    return {
        "colormap": Colormap(MASK_COLOURS, name="synthetic"),
        "contrast_limits": (0, 1),
        "interpolation2d": "nearest",
        "blending": "translucent_no_depth",
        "opacity": MASK_OPACITY,
        "metadata": {COMPANION_KEY: "synthetic"},
    }


def uncertainty_layer(result: Result, placement: Placement) -> Any:
    """Return the half width of the 90 % interval as a hidden image layer."""
    assert result.uncertainty is not None
    look = uncertainty_look(placement.look["contrast_limits"])
    return Image(result.uncertainty.data, name="uncertainty", **look, **placement.space)


def uncertainty_look(limits: Sequence[float]) -> dict[str, Any]:
    """Return how an uncertainty looks, as keyword arguments of an image layer; a quarter of the range is white.

    Args:
        limits: of the contrast of what it is the uncertainty of.
    """
    return {
        "colormap": "inferno",
        "contrast_limits": (0.0, max(limits[1] - limits[0], 1e-6) / 4),
        "visible": False,
        "metadata": {COMPANION_KEY: "uncertainty"},
    }


class Comparison:
    """Shows the original while it is held, and what was there when it is let go."""

    def __init__(self) -> None:
        self._put_back: list[Callable[[], None]] = []

    @property
    def is_on(self) -> bool:
        """True while the original is shown."""
        return bool(self._put_back)

    def start(self, viewer: Any, shown: list[Shown], covers: list[Any]) -> bool:
        """Show originals instead of results; return False when there is nothing to compare.

        Args:
            viewer: the viewer.
            shown: results, the newest last.
            covers: unique ids of other layers that cover originals (the preview).
        """
        if self.is_on:
            return True
        for record in reversed(shown):
            layer = find_layer(viewer, record.layer_id)
            if layer is None or not layer.visible:
                continue
            if isinstance(record.step, ReplacedData):
                self._swap(record.step)
                break
            self._set_visible(layer, False)
            self._set_visible(find_layer(viewer, record.source_id), True)
        for unique_id in covers:
            self._set_visible(find_layer(viewer, unique_id), False)
        return self.is_on

    def stop(self) -> None:
        """Put everything back."""
        for put_back in reversed(self._put_back):
            put_back()
        self._put_back = []

    def _set_visible(self, layer: Any, visible: bool) -> None:
        if layer is not None and layer.visible != visible:
            layer.visible = visible
            self._put_back.append(lambda: setattr(layer, "visible", not visible))

    def _swap(self, step: ReplacedData) -> None:
        """Exchange data in place, where both have the same sections and nobody exchanged them since."""
        now = full_data(step.layer)
        if now is not step.after[0] or step.before[0].shape != step.after[0].shape:
            return
        put_data(step.layer, *step.before)
        self._put_back.append(lambda: put_data(step.layer, *step.after))
