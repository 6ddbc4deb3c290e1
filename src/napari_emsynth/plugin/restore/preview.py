"""The preview: one transient one-section layer that shows what a repair would put there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from napari.layers import Image

from napari_emsynth.plugin.layers.convert import COMPANION_KEY, Placement, find_layer, section_translate, unique_name
from napari_emsynth.plugin.layers.results import insert_above
from napari_emsynth.volume import Array

# Of a layer that only tells something of another.
PREVIEW = "preview"


def is_preview(layer: Any) -> bool:
    """True for the transient layer, which is nobody's source."""
    return bool(layer.metadata.get(COMPANION_KEY) == PREVIEW)


class Preview:
    """Keeps the one preview layer of a viewer."""

    def __init__(self) -> None:
        self.layer_id: Any = None
        self.section: int | None = None

    def show(self, viewer: Any, source: Any, section: int, pixels: Array, below: Collection[Any]) -> None:
        """Show ``pixels`` [y, x] at a section of a 3-D layer, in place of an older preview.

        Args:
            viewer: where.
            source: the layer.
            section: of the layer.
            pixels: [y, x] in the layer's units.
            below: ids of the layers it must not lie under.
        """
        self.hide(viewer)
        placement = Placement.of(source)
        space = {**placement.space, "translate": section_translate(source, section)}
        layer = Image(
            pixels[None],
            name=unique_name(viewer, f"{source.name} preview (z={section})"),
            metadata={COMPANION_KEY: PREVIEW},
            **space,
            **placement.look,
        )
        active = viewer.layers.selection.active
        insert_above(viewer, layer, below)
        viewer.layers.selection.active = active
        self.layer_id, self.section = layer.unique_id, section

    def hide(self, viewer: Any) -> None:
        """Remove the preview layer."""
        layer = find_layer(viewer, self.layer_id)
        if layer is not None:
            active = viewer.layers.selection.active
            viewer.layers.remove(layer)
            if active is not None and find_layer(viewer, active.unique_id) is not None:
                viewer.layers.selection.active = active
        self.layer_id = self.section = None
