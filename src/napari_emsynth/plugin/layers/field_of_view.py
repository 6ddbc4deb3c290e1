"""The part of a layer that is looked at: a few sections around the one on screen, a crop around the view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.plugin.layers.convert import current_section, full_data

# A preview has to be quick; more does not fit into a narrow dock pixel by pixel.
EDGE = 128


@dataclass(frozen=True, kw_only=True)
class Window:
    """Part of a volume, never empty.

    Args:
        sections, rows, columns: what it holds.
        section: the one on screen, inside ``sections``.
        cross: row and column that the user has chosen for the reslices; None for the middle.
    """

    sections: slice
    rows: slice
    columns: slice
    section: int
    cross: tuple[int, int] | None = None

    @property
    def pixels(self) -> int:
        """How many pixels a section of it has."""
        return int((self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start))

    @property
    def row(self) -> int:
        """The row of the xz reslice: the chosen one while it is in the window, else the middle."""
        return _chosen(self.rows, None if self.cross is None else self.cross[0])

    @property
    def column(self) -> int:
        """The column of the yz reslice, in the same way."""
        return _chosen(self.columns, None if self.cross is None else self.cross[1])

    def describe(self) -> str:
        """Return the window in a few characters; both ends are inside."""
        return ", ".join(
            f"{axis} {part.start}-{part.stop - 1}"
            for axis, part in zip("zyx", (self.sections, self.rows, self.columns), strict=True)
        )


def _chosen(part: slice, wanted: int | None) -> int:
    if wanted is not None and part.start <= wanted < part.stop:
        return wanted
    return int(part.start + part.stop) // 2


def window_in_view(
    viewer: Any, layer: Any, sections: int, edge: int = EDGE, cross: tuple[int, int] | None = None
) -> Window:
    """Return the window around what the viewer shows of a layer.

    Args:
        viewer: where it is looked at.
        layer: an image layer of 3 or 4 axes.
        sections: how many, as far as the layer has them.
        edge: most rows and columns.
        cross: row and column of the reslices; None for the middle.
    """
    shape = tuple(full_data(layer).shape[-3:])
    here = current_section(viewer, layer)
    low, high = corners(layer)
    rows, columns = (
        around((low[axis] + high[axis]) / 2, min(edge, high[axis] - low[axis]), shape[axis]) for axis in (1, 2)
    )
    return Window(
        sections=around(here + 0.5, sections, shape[0]), rows=rows, columns=columns, section=here, cross=cross
    )


def corners(layer: Any) -> tuple[list[int], list[int]]:
    """Return the first voxel on screen, and the one past the last, of the last three axes; all where unknown."""
    shape = full_data(layer).shape[-3:]
    found = np.asarray(layer.corner_pixels, float)[:, -3:]
    if layer.multiscale:
        found = found * np.asarray(layer.downsample_factors[layer.data_level])[-3:]
    low, high = [], []
    for axis, count in enumerate(shape):
        first, last = np.clip(found[:, axis], 0, count - 1).astype(int)
        # Before the first drawing, and along an axis that is not shown, there are no corners.
        seen = last > first
        low.append(int(first) if seen else 0)
        high.append(int(last) + 1 if seen else count)
    return low, high


def around(centre: float, length: int, count: int) -> slice:
    """Return ``length`` indices around a point, moved (and cut) to lie within ``count``."""
    length = max(1, min(length, count))
    start = min(max(0, round(centre - length / 2)), count - length)
    return slice(start, start + length)
