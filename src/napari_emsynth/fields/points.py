"""Points and outlines that move along with a volume.

Conventions: places are (z, y, x) in voxels, whole numbers at voxel centres. An image is pulled,
``moved(p) = in(p + u(p))``; so what was at ``q`` is afterwards at the ``p`` with ``p + u(p) = q``, and so is a point.

Laws: a point lands where the image's detail lands; the section of a point does not change; a zero field moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.fields.algebra import undone
from napari_emsynth.fields.displacement import Displacement

Places = NDArray[np.float64]
# Straight edges of an outline bend: they get a vertex at least so often, in px.
VERTEX_PX = 16.0


def moved_points(points: Sequence[Sequence[float]] | NDArray[Any], field: Displacement) -> Places:
    """Return where points come to lie when the volume is moved by ``field``.

    Args:
        points: [n, 3] (z, y, x) voxels. Each goes with the section nearest to it; those beyond the first or last
            section, or not finite, stay where they are. Beyond a section's edges its nearest place says how to move.
        field: that moves the volume.

    Raises:
        InputError: not [n, 3].
    """
    places = np.array(points, np.float64)
    if not places.size:
        return places.reshape(0, 3)
    if places.ndim != 2 or places.shape[1] != 3:
        raise InputError(f"points of shape {places.shape} are not n, 3 (z, y, x)")
    known = np.isfinite(places).all(axis=1)
    nearest = np.full(len(places), -1)
    nearest[known] = np.floor(places[known, 0] + 0.5).astype(int)
    for z in np.unique(nearest[(nearest >= 0) & (nearest < field.shape[0])]):
        here = nearest == z
        places[here, 1:] += undone(field, int(z), places[here, 1], places[here, 2]).T
    return places


def moved_outline(
    vertices: Sequence[Sequence[float]] | NDArray[Any],
    field: Displacement,
    *,
    closed: bool = True,
    every_px: float = VERTEX_PX,
) -> Places:
    """Return the vertices [m, 3] of an outline after the volume is moved by ``field``.

    Args:
        vertices: [n, 3] (z, y, x) voxels of a polygon or a path.
        field: that moves the volume.
        closed: a polygon, whose last vertex is joined to the first; else a path.
        every_px: edges longer than this get vertices in between.

    Raises:
        InputError: not [n, 3].
    """
    corners = np.asarray(vertices, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 3:
        raise InputError(f"vertices of shape {corners.shape} are not n, 3 (z, y, x)")
    ends = np.roll(corners, -1, axis=0) if closed else corners[1:]
    parts = []
    for a, b in zip(corners, ends, strict=False):
        steps = max(1, int(np.ceil(np.hypot(*(b - a)[1:]) / every_px)))
        parts.append(a + (b - a) * (np.arange(steps) / steps)[:, None])
    if not closed:
        parts.append(corners[-1:])
    return moved_points(np.concatenate(parts), field)
