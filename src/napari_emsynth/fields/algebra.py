"""Fields combined: one after the other, back again, and whether they fold.

::

    compose(u1, u2)(p) = u2(p) + u1(p + u2(p))              first u1 moves the volume, then u2 what came out    (1)
    inverse(u)(q) = w(q),  w = -u(q + w)                    found by fixed-point iteration                      (2)
    jacobian(u)(p) = det(1 + grad u(p))                     1 where nothing is stretched, <= 0 where it folds   (3)

Laws: a field composed with zero is itself; composed with its inverse it is zero, as exactly as the lattice holds the
inverse; composing is associative. (2) converges where the field does not fold (|grad u| < 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.lattice import Float64, node_places
from napari_emsynth.volume import Float

# (2) ends when no place moves by more than this, or after so many rounds: 40 bring |grad u| = 0.8 to 1e-4 of itself.
TOLERANCE_PX, ROUNDS = 1e-4, 40
# Places looked at together: what is held for them stays within a few MB.
PLACES = 1 << 17


def compose(first: Displacement, then: Displacement) -> Displacement:
    """Return the one field that does what ``first`` and, upon its result, ``then`` do (1).

    Its lattice is the finer of the two. It has no limit: two displacements may add up to more than either's.

    Raises:
        InputError: they serve volumes of different shapes.
    """
    if first.shape != then.shape:
        raise InputError(f"fields of volumes of shapes {first.shape} and {then.shape} cannot be composed")
    nodes = (max(first.nodes[0], then.nodes[0]), max(first.nodes[1], then.nodes[1]))

    def section(z: int) -> Float:
        def both(y: Float64, x: Float64) -> Float64:
            u = then.at(z, y, x)
            return u + first.at(z, y + u[0], x + u[1])  # (1)

        return _everywhere(both, nodes, first.shape)

    lazier = first if first.is_lazy else then
    return Displacement(lazier.mapped(section, nodes), first.shape, first.voxel_nm or then.voxel_nm)


def inverse(field: Displacement) -> Displacement:
    """Return the field (2) that undoes ``field``, on the same lattice."""

    def section(z: int) -> Float:
        return _everywhere(lambda y, x: undone(field, z, y, x), field.nodes, field.shape)

    return Displacement(field.mapped(section, field.nodes), field.shape, field.voxel_nm)


def undone(field: Displacement, z: int, y: Float64, x: Float64) -> Float64:
    """Return (2) at places of one section: [2, p] (dy, dx) px.

    Args:
        field: to be undone.
        z: section.
        y: [p] px.
        x: [p] px.
    """
    w = -field.at(z, y, x)
    for _ in range(ROUNDS):
        better = -field.at(z, y + w[0], x + w[1])  # (2)
        step = float(np.abs(better - w).max(initial=0.0))
        w = better
        if step <= TOLERANCE_PX:
            break
    return w


def jacobian(dense: Float) -> Float:
    """Return the determinant (3) [y, x] of a dense field, by central differences.

    Args:
        dense: [2, y, x] (dy, dx) px; at least 2 x 2 px.
    """
    (yy, yx), (xy, xx) = (np.gradient(np.asarray(u, np.float64)) for u in dense)
    return np.asarray((1 + yy) * (1 + xx) - yx * xy, np.float32)


def _everywhere(at: Any, nodes: tuple[int, int], shape: tuple[int, int, int]) -> Float:
    """Return ``at(y, x)`` [2, *nodes] at every node, in strips of rows."""
    y, x = (node_places(n, length) for n, length in zip(nodes, shape[1:], strict=True))
    out = np.empty((2, *nodes), np.float32)
    rows = max(1, PLACES // nodes[1])
    for top in range(0, nodes[0], rows):
        strip = y[top : top + rows]
        found = at(np.repeat(strip, nodes[1]), np.tile(x, len(strip)))
        out[:, top : top + len(strip)] = found.reshape(2, len(strip), nodes[1])
    return out
