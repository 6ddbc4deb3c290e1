"""How well neighbouring sections lie on each other, and how near a displacement is to the known one.

Chunked Pearson correlation (CPC): two sections are cut into non-overlapping chunks ``c`` of 32 x 32 px, and the
correlations of corresponding chunks are averaged::

    r_c = sum_p (a(p) - a_c) (b(p) - b_c) / sqrt(sum_p (a(p) - a_c)^2  sum_p (b(p) - b_c)^2)     (1)
    CPC(a, b) = mean_c r_c                                                                        (2)
    CPC(stack) = mean_z CPC(stack[z], stack[z + 1])                                               (3)

with ``a_c``, ``b_c`` the chunks' means. Sections are [y, x] of any real dtype. Laws: between -1 and 1; a section with
itself gives 1; gain and offset of either section do not matter; chunks without structure, or with a pixel that is not
finite, are left out. It rewards smooth sections as well as aligned ones: hold it against that of a stack known to be
aligned, and do not want it higher.

Displacements are dense, [2, y, x] (dy, dx) px, pull: ``out(p) = in(p + u(p))``; a pixel in the ``margin`` does not
count. With ``u o (id + g)`` the field ``u(p + g(p))`` (linear between pixels, the edge's value beyond it)::

    EPE = mean_p |u(p) - t(p)|                       t: the truth                                 (4)
    EqE = mean_p |u_g(p) - (g(p) + u_0(p + g(p)))|   u_g: answer when the fixed section is        (5)
                                                     pulled by g; u_0: answer when it is not
    folds = share of p with det(1 + grad u)(p) <= 0  forward differences                          (6)
    c_z(p) = a_z(p) + k_z(p + a_z(p))                k: known, a: applied afterwards              (7)
    residual = mean_zp |c - G * c|                   G: Gaussian, sigma 3 sections, 24 px         (8)

Laws: each is 0 for the perfect answer; (4) of a constant error is its length; a mirrored field is folds throughout;
(8) forgives one offset for all sections and slow drift along z, which may be true, and nothing that jumps.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_emsynth.errors import InputError
from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]

CHUNK_PX = 32
# What is smoother than this along z and in plane may be true drift of structures, not an error.
DRIFT_SECTIONS, DRIFT_PX = 3.0, 24.0


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
        raise InputError(f"sections of shapes {a.shape} and {b.shape} px cannot be compared; shapes must be equal")
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


def end_point_error(u: Array, truth: Array, margin: int = 0) -> float:
    """Return the mean end-point error (4), px.

    Args:
        u: [2, y, x] displacement found, (dy, dx) px.
        truth: [2, y, x] the known one.
        margin: px that do not count on every side.

    Raises:
        InputError: shapes differ, or nothing is left within the margin.
    """
    _check_fields(margin, u, truth)
    return _mean_length(np.asarray(u, np.float64) - truth, margin)  # (4)


def equivariance_error(u_g: Array, u_0: Array, g: Array, margin: int = 0) -> float:
    """Return by how much an answer does not follow a known warp of the fixed section (5), px.

    Args:
        u_g: [2, y, x] answer for the fixed section pulled by ``g``, (dy, dx) px.
        u_0: [2, y, x] answer for the fixed section as it is.
        g: [2, y, x] the known warp.
        margin: px that do not count on every side.

    Raises:
        InputError: shapes differ, or nothing is left within the margin.
    """
    _check_fields(margin, u_g, u_0, g)
    return _mean_length(u_g - _followed(np.asarray(g, np.float64), u_0), margin)  # (5)


def folds(u: Array) -> float:
    """Return the share of pixels, 0 to 1, where a displacement turns the section over or tears it (6).

    Args:
        u: [2, y, x] displacement, (dy, dx) px; at least 2 px along both axes.

    Raises:
        InputError: not such a field.
    """
    _check_fields(0, u)
    if min(u.shape[1:]) < 2:
        raise InputError(f"folds of a field of {u.shape[1]} x {u.shape[2]} px: the limit is 2 px along both axes")
    u = np.asarray(u, np.float64)
    along_y = u[:, 1:, :-1] - u[:, :-1, :-1]
    along_x = u[:, :-1, 1:] - u[:, :-1, :-1]
    determinant = (1 + along_y[0]) * (1 + along_x[1]) - along_y[1] * along_x[0]
    return float(np.mean(determinant <= 0))  # (6)


def mean_magnitude(u: Array, margin: int = 0) -> float:
    """Return the mean length of a displacement, px: of an aligned stack's answer, the harm done.

    Args:
        u: [2, y, x] (dy, dx) px.
        margin: px that do not count on every side.

    Raises:
        InputError: not such a field, or nothing is left within the margin.
    """
    _check_fields(margin, u)
    return _mean_length(np.asarray(u, np.float64), margin)


def stack_residual(applied: Array, known: Array, margin: int = 0, alone: Array | None = None) -> float:
    """Return what an alignment leaves of a stack's known distortion (8), px.

    No stack is perfectly aligned to begin with: what an alignment takes out of the undistorted stack, ``alone``, it
    takes out of the distorted one as well, and that is no error. With it, ``c - alone`` stands for ``c`` in (8).

    Args:
        applied: [z, 2, y, x] the alignment's answer, (dy, dx) px; zeros give the residual before alignment.
        known: [z, 2, y, x] what the stack was distorted by beforehand.
        margin: px that do not count on every side of a section.
        alone: [z, 2, y, x] the answer to the undistorted stack; None counts the stack's own jitter as error.

    Raises:
        InputError: shapes differ, or nothing is left within the margin.
    """
    composed = _composed(applied, known)
    _check_fields(margin, applied[0])
    if alone is not None:
        composed = composed - alone
    rest = composed - _smooth(composed)
    return float(np.mean([_mean_length(c, margin) for c in rest]))  # (8)


def drift(applied: Array, known: Array) -> Float64:
    """Return the part of what an alignment leaves that (8) forgives, [z, 2, y, x] (dy, dx) px.

    The undistorted stack pulled along it is what a perfect alignment with that drift looks like.

    Args:
        applied: [z, 2, y, x] the alignment's answer, px.
        known: [z, 2, y, x] what the stack was distorted by beforehand.

    Raises:
        InputError: shapes differ.
    """
    return _smooth(_composed(applied, known))


def _composed(applied: Array, known: Array) -> Float64:
    """Return (7), [z, 2, y, x]."""
    if applied.ndim != 4 or applied.shape != known.shape:
        raise InputError(
            f"fields of shapes {applied.shape} and {known.shape} cannot be compared; needs [z, 2, y, x], equal"
        )
    return np.stack([_followed(a, k) for a, k in zip(applied, known, strict=True)])  # (7)


def _smooth(composed: Float64) -> Float64:
    """Return G * c of (8)."""
    smooth: Float64 = gaussian_filter(composed, (DRIFT_SECTIONS, 0, DRIFT_PX, DRIFT_PX))
    return smooth


def _followed(first: Array, then: Array) -> Float64:
    """Return [2, y, x] ``first(p) + then(p + first(p))``."""
    first = np.asarray(first, np.float64)
    there = np.indices(first.shape[1:]) + first
    pulled = [map_coordinates(np.asarray(t, np.float64), there, order=1, mode="nearest") for t in then]
    followed: Float64 = first + np.stack(pulled)
    return followed


def _mean_length(u: Float64, margin: int) -> float:
    """Return the mean length of the vectors [2, y, x] that are ``margin`` px or more from every edge."""
    inner = u[:, margin : u.shape[1] - margin, margin : u.shape[2] - margin]
    return float(np.hypot(inner[0], inner[1]).mean())


def _check_fields(margin: int, *fields: Array) -> None:
    """Refuse what is no dense displacement, differs in shape, or has nothing but margin.

    Raises:
        InputError: as said.
    """
    shapes = {tuple(f.shape) for f in fields}
    if len(shapes) > 1 or any(f.ndim != 3 or f.shape[0] != 2 for f in fields):
        said = " and ".join(str(shape) for shape in sorted(shapes))
        raise InputError(f"fields of shape {said} cannot be measured; needs [2, y, x], equal")
    edge = min(fields[0].shape[1:])
    if not 0 <= 2 * margin < edge:
        raise InputError(f"margin of {margin} px is outside 0 to {(edge - 1) // 2} px for an edge of {edge} px")
