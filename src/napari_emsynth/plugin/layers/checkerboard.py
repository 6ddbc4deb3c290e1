"""Original and result in alternating squares, in one transient layer.

Laws: nothing but a section on screen is computed, nothing of either is changed; both need the same voxels.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from napari.layers import Image

from napari_emsynth.plugin.layers.convert import COMPANION_KEY, Placement, find_layer, full_data, unique_name
from napari_emsynth.plugin.layers.history import ReplacedData
from napari_emsynth.plugin.layers.results import Shown, family, insert_above
from napari_emsynth.volume import Array

How = Literal["red/green", "squares"]
HOWS: tuple[How, ...] = ("red/green", "squares")
# Squares along the shorter side of a section, and the least px of one.
SQUARES, SMALLEST_PX = 12, 8


def overlaid(how: How, below: Array, above: Array, limits: tuple[float, float]) -> Array:
    """Return two sections [y, x] as one picture: [y, x, 3] uint8 for red/green, [y, x] for squares."""
    if how == "squares":
        return np.where(squares(below.shape), below, above)
    return np.stack([brightness(below, limits), brightness(above, limits), np.zeros(below.shape, np.uint8)], -1)


def brightness(pixels: Array, limits: tuple[float, float]) -> Array:
    """Return pixels as 0 to 255 between contrast limits; 0 where they are not finite."""
    low, high = limits
    share = (np.nan_to_num(np.asarray(pixels, np.float32), nan=low) - low) / max(high - low, 1e-12)
    found: Array = (255 * np.clip(share, 0, 1)).round().astype(np.uint8)
    return found


def squares(shape: tuple[int, int]) -> Array:
    """Return [y, x] bool, True where the original is shown; the corner at 0, 0 shows the result."""
    edge = max(SMALLEST_PX, min(shape) // SQUARES)
    y, x = (np.arange(n) // edge % 2 for n in shape)
    found: Array = y[:, None] != x[None, :]
    return found


def alternated(original: Any, result: Any) -> Any:
    """Return a dask array [z, y, x] that takes its squares from both, a section a chunk."""
    import dask.array as da

    sections = (1, *result.shape[1:])
    pair = [
        data.rechunk(sections) if hasattr(data, "dask") else da.from_array(data, chunks=sections, name=False)
        for data in (original, result)
    ]
    return da.where(squares(result.shape[1:])[None], *pair).astype(result.dtype)


class Checkerboard:
    """Keeps the one checkerboard layer of a viewer."""

    def __init__(self) -> None:
        self.layer_id: Any = None

    def is_on(self, viewer: Any) -> bool:
        """True while the layer is there."""
        return self.layer_id is not None and find_layer(viewer, self.layer_id) is not None

    def show(self, viewer: Any, shown: list[Shown]) -> bool:
        """Show the newest result that can be compared, in place of an older board; False when there is none.

        Args:
            viewer: where.
            shown: results, the newest last.
        """
        self.hide(viewer)
        for record in reversed(shown):
            layer = find_layer(viewer, record.layer_id)
            pair = None if layer is None else pair_of(viewer, layer, record)
            if layer is None or pair is None:
                continue
            placement = Placement.of(layer)
            board = Image(
                alternated(*pair),
                name=unique_name(viewer, f"{layer.name} checkerboard"),
                metadata={COMPANION_KEY: "checkerboard"},
                **placement.space,
                **placement.look,
            )
            # Above the mask too: it would tint the squares that are not synthetic.
            insert_above(viewer, board, family(layer.unique_id, shown) | family(record.source_id, shown))
            viewer.layers.selection.active = layer
            self.layer_id = board.unique_id
            return True
        return False

    def hide(self, viewer: Any) -> None:
        """Take the layer away."""
        board = find_layer(viewer, self.layer_id)
        if board is not None:
            viewer.layers.remove(board)
        self.layer_id = None


def pair_of(viewer: Any, layer: Any, record: Shown) -> tuple[Any, Any] | None:
    """Return original and result [z, y, x], None when they have not the same voxels (sections were inserted)."""
    if isinstance(record.step, ReplacedData):
        before, after = record.step.before[0], record.step.after[0]
        return (before, after) if full_data(layer) is after and before.shape == after.shape else None
    source = find_layer(viewer, record.source_id)
    if source is None or full_data(source).shape != full_data(layer).shape:
        return None
    return full_data(source), full_data(layer)
