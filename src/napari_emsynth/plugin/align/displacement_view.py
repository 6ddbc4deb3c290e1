"""A displacement field to look at: arrows, or a grid drawn on the original; and the confidence in it as a map.

Conventions: drawn places are (z, y, x) in voxels of the stack. An arrow ends where tissue lies when aligned and starts
where it came from, ``magnify`` times as far away; the lines of the grid become straight and square when aligned. Both
are the field itself, not a guess at its inverse. Law: no more than ``MOST`` lines, however large the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Vectors
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.lattice import node_places
from napari_emsynth.plugin.layers.convert import COMPANION_KEY
from napari_emsynth.plugin.layers.overlay import on_nodes
from napari_emsynth.volume import Array, Float

Kind = Literal["arrows", "grid"]

# Lines along the longer side of a section, and in all sections together: napari looks through all of them for those
# of a section (200 000 take it 20 ms).
ALONG, MOST = 24, 200_000
# Magnified, the longest displacement spans so many steps of the grid: more would cross.
SPAN_STEPS = 0.75
HIGHEST_MAGNIFICATION = 50
# Red, yellow, green; the sections show through.
DOUBT_TO_TRUST, CONFIDENCE_OPACITY = ((0.85, 0.15, 0.1), (1.0, 0.85, 0.2), (0.15, 0.65, 0.3)), 0.35


def view_nodes(shape: tuple[int, int, int], most: int = MOST) -> tuple[int, int]:
    """Return how many nodes along y and x are drawn of every section, about as far apart along both."""
    count, height, width = shape
    step = max(height, width) / ALONG
    # Two lines a node in a grid.
    step = max(step, (2 * count * height * width / most) ** 0.5, 1.0)
    return max(2, round(height / step)), max(2, round(width / step))


def sampled(field: Displacement, nodes: tuple[int, int], check: Callable[[], None] = lambda: None) -> Float:
    """Return the field [z, 2, *nodes] px on a coarser lattice."""
    found = np.empty((field.shape[0], 2, *nodes), np.float32)
    for z in range(field.shape[0]):
        check()
        found[z] = field.on_nodes(z, nodes)
    return found


def magnification(vectors: Float, shape: tuple[int, int, int]) -> int:
    """Return the whole number by which vectors [z, 2, y', x'] must be drawn longer to be seen, 1 or more."""
    longest = float(np.hypot(vectors[:, 0], vectors[:, 1]).max(initial=0.0))
    step = min(n / m for n, m in zip(shape[1:], vectors.shape[2:], strict=True))
    if longest * HIGHEST_MAGNIFICATION <= SPAN_STEPS * step:
        return HIGHEST_MAGNIFICATION
    return max(1, int(SPAN_STEPS * step / longest))


def lines(kind: Kind, vectors: Float, shape: tuple[int, int, int], magnify: float) -> tuple[NDArray[np.float32], Float]:
    """Return what to draw.

    Args:
        kind: arrows or a grid.
        vectors: [z, 2, y', x'] (dy, dx) px.
        shape: of the stack, voxels.
        magnify: how many times too long.

    Returns:
        [n, 2, 3] starts and directions (z, y, x) in voxels, and the true lengths [n] px of the displacements there.
    """
    count = len(vectors)
    y, x = (node_places(n, length) for n, length in zip(vectors.shape[2:], shape[1:], strict=True))
    nodes = np.empty((count, len(y), len(x), 3), np.float32)
    nodes[..., 0] = np.arange(count)[:, None, None]
    nodes[..., 1], nodes[..., 2] = y[:, None], x
    away = np.zeros_like(nodes)
    away[..., 1:] = magnify * np.moveaxis(vectors, 1, -1)
    length = np.hypot(vectors[:, 0], vectors[:, 1])
    start = nodes + away
    if kind == "arrows":
        return _pairs(start, -away), length.ravel()
    down, across = np.diff(start, axis=1), np.diff(start, axis=2)
    drawn = np.concatenate([_pairs(start[:, :-1], down), _pairs(start[:, :, :-1], across)])
    means = [(length[:, :-1] + length[:, 1:]) / 2, (length[:, :, :-1] + length[:, :, 1:]) / 2]
    return drawn, np.concatenate([m.ravel() for m in means])


def _pairs(start: Array, direction: Array) -> NDArray[np.float32]:
    return np.stack([start.reshape(-1, 3), direction.reshape(-1, 3)], axis=1)


def vectors_layer(
    kind: Kind, vectors: Float, shape: tuple[int, int, int], magnify: float, space: dict[str, Any]
) -> Any:
    """Return a napari Vectors layer, coloured by the true length in px.

    Args:
        kind: arrows or a grid, see :func:`lines`.
        vectors: [z, 2, y', x'] (dy, dx) px.
        shape: of the stack, voxels.
        magnify: how many times too long.
        space: keyword arguments that put a layer on the stack.
    """
    drawn, length = lines(kind, vectors, shape, magnify)
    step = min(n / m for n, m in zip(shape[1:], vectors.shape[2:], strict=True))
    return Vectors(
        drawn,
        features={"px": length},
        edge_color="px",
        edge_colormap="turbo",
        edge_contrast_limits=(0.0, max(float(length.max(initial=0.0)), 1e-3)),
        edge_width=step / (8 if kind == "arrows" else 16),
        vector_style="triangle" if kind == "arrows" else "line",
        opacity=0.9,
        metadata={COMPANION_KEY: kind},
        **space,
    )


def confidence_layer(confidence: Any, shape: tuple[int, int, int], space: dict[str, Any]) -> Any:
    """Return an image layer of a confidence [z, y', x'] on cell-centred nodes, that covers the stack.

    Args:
        confidence: 0 to 1.
        shape: of the stack, voxels.
        space: keyword arguments that put a layer on the stack.
    """
    return Image(
        confidence,
        colormap=Colormap(DOUBT_TO_TRUST, name="confidence"),
        contrast_limits=(0.0, 1.0),
        interpolation2d="linear",
        blending="translucent_no_depth",
        opacity=CONFIDENCE_OPACITY,
        metadata={COMPANION_KEY: "confidence"},
        **on_nodes(space, shape, tuple(confidence.shape[1:])),
    )
