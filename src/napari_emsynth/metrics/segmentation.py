"""Cells told apart: how near one partition of a volume is to another, and a partition made without learning.

Conventions: label volumes are [z, y, x] integers; ids mean nothing but "the same cell". Voxels of id 0 in the truth
(membrane or unlabelled) are left out. With ``p_ij`` the share of the voxels that truth calls i and the answer j, and
``r_i``, ``s_j`` its row and column sums ::

    split = H(answer | truth) = -sum p_ij log2(p_ij / r_i)                                   (1)
    merge = H(truth | answer) = -sum p_ij log2(p_ij / s_j)                                   (2)
    precision = sum p_ij^2 / sum s_j^2,   recall = sum p_ij^2 / sum r_i^2                    (3)
    error = 1 - 2 sum p_ij^2 / (sum r_i^2 + sum s_j^2)                                       (4)

Laws: equal partitions, however numbered, give 0 bits, error 0; cutting cells raises only ``split`` and lowers only
recall; joining them raises only ``merge`` and lowers only precision.

Sources: Meila, J. Multivariate Analysis 98 (2007) 873; Arganda-Carreras et al., Front. Neuroanat. 9 (2015) 142. Of the
latter there is a function in scikit-image 0.26 too, which swaps the names of precision and recall.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import contingency_table

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]


def voi(truth: Array, found: Array) -> tuple[float, float]:
    """Return the variation of information as (split (1), merge (2)), bits; its sum is the distance.

    Args:
        truth: [z, y, x] integer ids, 0 = does not count (any number of axes will do).
        found: the same shape, integer ids; 0 is an id like any other.

    Raises:
        InputError: shapes differ, no integers, or nothing counts.
    """
    p, row, column = _shares(truth, found)
    return _bits(p, row), _bits(p, column)  # (1), (2)


def adapted_rand(truth: Array, found: Array) -> tuple[float, float, float]:
    """Return (error (4), precision, recall (3)), each 0 to 1.

    Args:
        truth: [z, y, x] integer ids, 0 = does not count (any number of axes will do).
        found: the same shape, integer ids; 0 is an id like any other.

    Raises:
        InputError: shapes differ, no integers, or nothing counts.
    """
    p, row, column = _shares(truth, found)
    both = float(p @ p)
    r, s = float(p @ row), float(p @ column)  # sum r_i^2 = sum p_ij r_i
    return 1 - 2 * both / (r + s), both / s, both / r  # (4), (3)


def _bits(p: Float64, whole: Float64) -> float:
    return float(np.sum(p * np.log2(whole / p)))


def _shares(truth: Array, found: Array) -> tuple[Float64, Float64, Float64]:
    """Return every ``p_ij`` that is not 0, and of each its ``r_i`` and ``s_j``."""
    if truth.shape != found.shape:
        raise InputError(
            f"labels of shapes {truth.shape} and {found.shape} voxels cannot be compared; shapes must be equal"
        )
    for labels in (truth, found):
        if labels.dtype.kind not in "iu":
            raise InputError(f"labels of dtype {labels.dtype} cannot be compared; needs integer ids")
    counts = truth != 0
    if not counts.any():
        raise InputError("labels without an id other than 0 cannot be compared; 0 does not count")
    compact = [_compact(labels[counts]) for labels in (truth, found)]
    table = contingency_table(*compact, normalize=True, sparse_type="array").tocoo()
    r, s = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    return table.data, r[table.row], s[table.col]


def _compact(ids: Array) -> NDArray[np.intp]:
    """Return the ids renumbered from 0: a table of raw ids would be as large as the largest."""
    return np.unique(ids, return_inverse=True)[1].ravel()
