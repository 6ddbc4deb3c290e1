"""How well neighbouring sections lie on each other.

Chunked Pearson correlation (CPC): two sections are cut into non-overlapping chunks ``c`` of 32 x 32 px, and the
correlations of corresponding chunks are averaged::

    r_c = sum_p (a(p) - a_c) (b(p) - b_c) / sqrt(sum_p (a(p) - a_c)^2  sum_p (b(p) - b_c)^2)     (1)
    CPC(a, b) = mean_c r_c                                                                        (2)
    CPC(stack) = mean_z CPC(stack[z], stack[z + 1])                                               (3)

with ``a_c``, ``b_c`` the chunks' means. Sections are [y, x] of any real dtype. Laws: between -1 and 1; a section with
itself gives 1; gain and offset of either section do not matter; chunks without structure, or with a pixel that is not
finite, are left out. It rewards smooth sections as well as aligned ones: hold it against that of a stack known to be
aligned, and do not want it higher.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]

CHUNK_PX = 32


def _chunks(section: Array, chunk: int) -> Float64:
    """Return [chunks, pixels] of a section [y, x]; rows and columns that do not fill a chunk are dropped.

    An axis shorter than a chunk is one chunk long.
    """
    size = [min(chunk, n) for n in section.shape]
    rows, columns = (n // s for n, s in zip(section.shape, size, strict=True))
    whole = np.asarray(section[: rows * size[0], : columns * size[1]], dtype=np.float64)
    cells = whole.reshape(rows, size[0], columns, size[1]).transpose(0, 2, 1, 3)
    return cells.reshape(rows * columns, size[0] * size[1])


def chunk_correlations(a: Array, b: Array, chunk: int = CHUNK_PX) -> Float64:
    """Return (1) of every chunk that has structure in both sections.

    Args:
        a: [y, x] intensities.
        b: [y, x].
        chunk: edge of a chunk in px.

    Raises:
        InputError: shapes differ.
    """
    if a.shape != b.shape:
        raise InputError(
            f"sections of shapes {a.shape} and {b.shape} px cannot be compared; shapes must be equal"
        )
    cells = [_chunks(section, chunk) for section in (a, b)]
    known = np.isfinite(cells[0]).all(axis=1) & np.isfinite(cells[1]).all(axis=1)
    centred = [c[known] - c[known].mean(axis=1, keepdims=True) for c in cells]
    squares = [(c**2).sum(axis=1) for c in centred]
    varied = (squares[0] > 0) & (squares[1] > 0)
    products = (centred[0] * centred[1]).sum(axis=1)
    return np.asarray(products[varied] / np.sqrt(squares[0][varied] * squares[1][varied]))  # (1)


def cpc(a: Array, b: Array, chunk: int = CHUNK_PX) -> float:
    """Return the chunked Pearson correlation (2) of two sections, -1 to 1; NaN when no chunk has structure.

    Args:
        a: [y, x] intensities.
        b: [y, x].
        chunk: edge of a chunk in px.

    Raises:
        InputError: shapes differ.
    """
    found = chunk_correlations(a, b, chunk)
    return float(found.mean()) if found.size else math.nan  # (2)


def stack_cpc(stack: Array, chunk: int = CHUNK_PX) -> float:
    """Return the mean chunked Pearson correlation (3) of neighbouring sections; NaN when none can be told.

    Args:
        stack: [z, y, x] intensities.
        chunk: edge of a chunk in px.
    """
    pairs = [cpc(a, b, chunk) for a, b in pairwise(stack)]
    known = [c for c in pairs if math.isfinite(c)]
    return float(np.mean(known)) if known else math.nan  # (3)
