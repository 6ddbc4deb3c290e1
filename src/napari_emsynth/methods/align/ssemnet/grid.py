"""The coarse vector map of ssEMnet, and three ways from its nodes to pixels.

Maps ``v`` [b, 2, y', x'] (dy, dx) px have cell-centred nodes: node i of n along an axis of N px sits at px
``(i + 0.5) N / n - 0.5``. Between them::

    bilinear     u(y, x) = sum_ij W_i(y) v_ij W_j(x),   W the hat function                              (1)
    bicubic      the same with Keys' cubic convolution                                                  (2)
    thin-plate   u(p) = a + A p + sum_k c_k U(|p - q_k|),   U(r) = r^2 log r,   u(q_k) = v_k,
                 sum_k c_k = 0,   sum_k c_k q_k = 0                                                     (3)

(3) is solved for and evaluated on nodes three times as dense, and goes on from there by (2): evaluating it at every
pixel takes pixels times nodes operations. Laws: constant and linear maps come out exactly, at the faces too; every
node is met exactly; any crop equals the crop of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.fields.lattice import Float64, Taps, node_places

Interpolation = Literal["bilinear", "bicubic", "thin-plate"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "thin-plate")
# How much denser (3) is evaluated; odd, so that every node is among the dense ones.
DENSER = 3
# (3) is a full matrix: with so many nodes it takes 200 MB while it is made.
MOST_NODES = 1600


def bilinear(places: Float64, nodes: int, length: int) -> Float64:
    """Return the weights [p, nodes] of (1) along one axis.

    Args:
        places: [p] px; beyond the axis the nearest place on it is taken.
        nodes: on the axis.
        length: of the axis in px.
    """
    if nodes == 1:
        return np.ones((len(places), 1))
    t = (np.clip(places, -0.5, length - 0.5) + 0.5) * nodes / length - 0.5
    below = np.clip(np.floor(t), 0, nodes - 2)  # beyond the outer nodes the line goes on
    away = (t - below)[:, None]
    index = np.arange(nodes)
    return np.asarray((index == below[:, None]) * (1 - away) + (index == below[:, None] + 1) * away)


def bicubic(places: Float64, nodes: int, length: int) -> Float64:
    """Return the weights [p, nodes] of (2) along one axis; the arguments are those of :func:`bilinear`."""
    taps = Taps.at(places, nodes, length)
    window = np.zeros((nodes, nodes))[taps.span]
    window[:, taps.span] = np.eye(len(window))
    rows, start = taps.extended(window, 0)
    return np.asarray(sum(w[:, None] * rows[start + k] for k, w in enumerate(taps.weights)))


def thin_plate(nodes: tuple[int, int], shape: tuple[int, int]) -> Float64:
    """Return the matrix [dense nodes, nodes] that evaluates (3) on nodes :data:`DENSER` times as dense.

    Args:
        nodes: (y', x').
        shape: (y, x) px of the section.

    Raises:
        InputError: more than :data:`MOST_NODES` nodes.
    """
    count = nodes[0] * nodes[1]
    if count > MOST_NODES:
        raise InputError(
            f"thin-plate interpolation of {count} nodes is above the limit of {MOST_NODES} nodes; choose a larger "
            "step_px, or bilinear or bicubic interpolation"
        )
    unit = max(s / n for s, n in zip(shape, nodes, strict=True))  # lengths of about 1 keep (3) well conditioned
    known, dense = (_positions((f * nodes[0], f * nodes[1]), shape) / unit for f in (1, DENSER))
    system = np.zeros((count + 3, count + 3))
    system[:count] = _basis(known, known)
    system[count:, :count] = system[:count, count:].T
    solution = np.linalg.lstsq if min(nodes) == 1 else np.linalg.solve  # nodes on one line do not fix A
    wanted = np.eye(count + 3, count)
    found = solution(system, wanted)
    return np.asarray(_basis(dense, known) @ (found[0] if isinstance(found, tuple) else found))  # (3)


def _positions(nodes: tuple[int, int], shape: tuple[int, int]) -> Float64:
    """Return where nodes sit, [y' x', 2] px from the middle of the section."""
    axes = [node_places(n, s) - (s - 1) / 2 for n, s in zip(nodes, shape, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)


def _basis(at: Float64, centres: Float64) -> Float64:
    """Return the functions of (3) [p, centres + 3] at positions ``at`` [p, 2]."""
    square = cdist(at, centres, "sqeuclidean")
    bent = 0.5 * square * np.log(np.where(square > 0, square, 1.0))  # r^2 log r
    return np.concatenate((bent, np.ones((len(at), 1)), at), axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The way from nodes to the pixels of one section, or of a binned copy of it.

    Args:
        nodes: (y', x').
        shape: (y, x) px of the section.
        rows: [y'', h] weights of the pixels' rows along y; y'' = y' or denser.
        columns: [x'', w] weights along x.
        denser: [y'' x'', y' x'] from nodes to denser nodes, or None where there are no denser ones.
    """

    nodes: tuple[int, int]
    shape: tuple[int, int]
    rows: Tensor
    columns: Tensor
    denser: Tensor | None = None

    @classmethod
    def of(
        cls,
        kind: Interpolation,
        nodes: tuple[int, int],
        shape: tuple[int, int],
        places: tuple[Float64, Float64],
        device: torch.device,
    ) -> Grid:
        """Prepare the weights.

        Args:
            kind: how to interpolate.
            nodes: (y', x').
            shape: (y, x) px of the section.
            places: px of the section, rows and columns, at which vectors are wanted.
            device: of the weights.

        Raises:
            InputError: too many nodes for thin-plate interpolation.
        """
        denser, lattice = None, nodes
        if kind == "thin-plate":
            denser = torch.from_numpy(thin_plate(nodes, shape).astype(np.float32)).to(device)
            lattice = (DENSER * nodes[0], DENSER * nodes[1])
        weights = bilinear if kind == "bilinear" else bicubic
        rows, columns = (
            torch.from_numpy(weights(p, n, s).T.astype(np.float32)).to(device)
            for p, n, s in zip(places, lattice, shape, strict=True)
        )
        return cls(nodes=nodes, shape=shape, rows=rows, columns=columns, denser=denser)

    def __call__(self, v: Tensor, y: slice = slice(None), x: slice = slice(None)) -> Tensor:
        """Return (1), (2) or (3): [b, 2, y', x'] -> [b, 2, h, w], or a window of it."""
        nodes = self.dense(v.flatten(0, 1))
        nodes = nodes.view(len(v), 2, *nodes.shape[1:])
        return self.rows[:, y].T @ nodes @ self.columns[:, x]

    def dense(self, nodes: Tensor) -> Tensor:
        """Return the nodes that rows and columns are of: [m, y', x'] -> [m, y'', x'']."""
        if self.denser is None:
            return nodes
        return (nodes.flatten(1) @ self.denser.T).view(-1, self.rows.shape[0], self.columns.shape[0])


def resampled(v: Tensor, nodes: tuple[int, int]) -> Tensor:
    """Return (1) of maps [b, 2, y', x'] at another number of nodes; their vectors keep their px."""
    if (v.shape[-2], v.shape[-1]) == nodes:
        return v
    rows, columns = (
        torch.from_numpy(bilinear(node_places(n, n), old, n).astype(np.float32)).to(v.device)
        for n, old in zip(nodes, v.shape[-2:], strict=True)
    )
    return rows @ v @ columns.T
