"""Pixels of a section, pulled along displacements: ``out(p) = in(p + u(p))``.

Between pixels an image is the cubic B-spline through them. Its coefficients are the pixels filtered along both axes::

    c = h_y * h_x * in,   h(k) = a z^|k|,  z = sqrt(3) - 2,  |k| <= TAIL,  sum h = 1              (1)
    out = sum_kl b_k(t_y) b_l(t_x) c(i_y + k, i_x + l),   k, l = -1 .. 2                         (2)

reflected at the section's edges. Labels take the nearest pixel. A place is outside when it is beyond the outer edges of
the outer pixels.

Laws: where p + u(p) is a whole pixel, that pixel comes out unchanged; a constant image stays constant; nearest gives
no value that was not there; any crop equals the crop of the whole; unknown pixels (not finite, or empty) stay unknown,
0 or NaN, with their neighbours that would need them.
Source: Unser, Aldroubi & Eden 1993, B-spline signal processing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, distance_transform_edt

from napari_emsynth.normalisation import to_dtype
from napari_emsynth.volume import Array, Float

Interpolation = Literal["cubic", "linear", "nearest"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("cubic", "linear", "nearest")

# z^12 = 1e-7: what is cut off (1) is below the precision of float32.
TAIL = 12
# Pixels that a value looks at around p + u(p).
HALO: dict[Interpolation, int] = {"cubic": TAIL + 3, "linear": 2, "nearest": 1}
# Pixels computed together: their sixteen terms stay in the processor's cache (86 ns a pixel, 107 in one go, 148 in
# strips of 2^12; one core, sections of 1024 x 1024).
STRIP_PIXELS = 1 << 16
# Displacements beyond this are outside any section.
FAR = 1e7

Indices = NDArray[np.intp]


def _prefilter() -> NDArray[np.float64]:
    z = np.sqrt(3.0) - 2.0
    h = z ** np.abs(np.arange(-TAIL, TAIL + 1))
    return np.asarray(h / h.sum())


PREFILTER = _prefilter()


@dataclass(frozen=True)
class Window:
    """Part of a section, as it was read.

    Args:
        pixels: [h, w] any real dtype.
        top: row of the section that is the window's first.
        left: column of the section that is the window's first.
        full: rows and columns of the section.
        empty: [h, w] True where nothing was acquired; None where everything was.
    """

    pixels: Array
    top: int
    left: int
    full: tuple[int, int]
    empty: Array | None = None


@dataclass(frozen=True)
class _Places:
    """Where values come from along one axis: whole pixel, part of a pixel beyond it, and whether inside."""

    pixel: NDArray[np.int64]
    part: Float
    inside: NDArray[np.bool_]


def pulled(window: Window, u: Float, at: tuple[int, int], how: Interpolation) -> tuple[Array, Array]:
    """Return pixels [h, w] in the window's dtype, and [h, w] True where they come from outside the section.

    Outside is 0, or NaN for floats.

    Args:
        window: holds every pixel that is needed.
        u: [2, h, w] (dy, dx) px.
        at: row and column of the section of ``u``'s first pixel.
        how: "cubic", "linear" or "nearest".
    """
    dtype = window.pixels.dtype
    source = _Source.of(window, how)
    out = np.empty(u.shape[1:], dtype)
    beyond = np.empty(u.shape[1:], bool)
    for rows in strips(u.shape[1:]):
        y = _places(u[0, rows], at[0] + np.arange(rows.start, rows.stop)[:, None], window.full[0], how)
        x = _places(u[1, rows], at[1] + np.arange(u.shape[2])[None, :], window.full[1], how)
        beyond[rows] = ~(y.inside & x.inside)
        out[rows] = source.values(y, x)
    if beyond.any():
        out[beyond] = np.nan if dtype.kind == "f" else 0
    return out, beyond


def outside(u: Float, at: tuple[int, int], full: tuple[int, int]) -> Array:
    """Return [h, w] True where ``p + u(p)`` is beyond the section's outer pixels.

    Args:
        u: [2, h, w] (dy, dx) px.
        at: row and column of its first pixel.
        full: rows and columns of the section.
    """
    y = _places(u[0], at[0] + np.arange(u.shape[1])[:, None], full[0], "nearest")
    x = _places(u[1], at[1] + np.arange(u.shape[2])[None, :], full[1], "nearest")
    return np.asarray(~(y.inside & x.inside))


def strips(shape: tuple[int, int] | tuple[int, ...]) -> Iterator[slice]:
    """Cut rows into strips of about :data:`STRIP_PIXELS`."""
    step = max(1, STRIP_PIXELS // shape[1])
    for top in range(0, shape[0], step):
        yield slice(top, min(top + step, shape[0]))


def _places(u: Float, p: NDArray[np.int64], length: int, how: Interpolation) -> _Places:
    """Return where ``p + u`` lies along an axis of ``length`` px; beyond the outer centres, those."""
    u = np.clip(u, -FAR, FAR)
    # The part of a pixel comes from u alone: it must not depend on where a crop begins.
    below = np.floor(u + np.float32(0.5)) if how == "nearest" else np.floor(u)
    part = np.zeros_like(u) if how == "nearest" else u - below
    place = p + u.astype(np.float64)
    inside = (place >= -0.5) & (place <= length - 0.5)
    pixel = p + below.astype(np.int64)
    clamped = (pixel < 0) | (pixel >= length - 1)
    return _Places(np.clip(pixel, 0, length - 1), np.where(clamped, np.float32(0), part), inside)


@dataclass(frozen=True)
class _Source:
    """A window made ready to be looked up.

    Args:
        window: as it was read.
        terms: [h + 4, w + 4] what (2) sums over, two pixels wider on every side; None for nearest.
        unknown: [h + 4, w + 4] True where a pixel is empty or not finite; None where none is.
        cubic: B-spline weights, else linear ones.
    """

    window: Window
    terms: Any
    unknown: Any
    cubic: bool

    @classmethod
    def of(cls, window: Window, how: Interpolation) -> _Source:
        pixels = window.pixels
        if how == "nearest":
            return cls(window, None, None, cubic=False)
        wide = pixels.dtype.kind in "iuf" and pixels.dtype.itemsize >= (8 if pixels.dtype.kind == "f" else 4)
        values = pixels.astype(np.float64 if wide else np.float32)
        unknown = window.empty
        if pixels.dtype.kind == "f":
            unknown = ~np.isfinite(pixels) if unknown is None else unknown | ~np.isfinite(pixels)
        if unknown is not None and unknown.any():
            values = _filled(values, unknown)
            unknown = np.pad(unknown, 2, mode="edge")
        else:
            unknown = None
        if how == "cubic":
            for axis in (0, 1):
                values = correlate1d(values, PREFILTER, axis=axis, mode="mirror")  # (1)
        return cls(window, np.pad(values, 2, mode="reflect"), unknown, cubic=how == "cubic")

    def values(self, y: _Places, x: _Places) -> Array:
        """Return pixels of one strip, in the window's dtype."""
        iy, ix = y.pixel - self.window.top, x.pixel - self.window.left
        # Places outside look at nothing that matters; they must look at something that is there.
        height, width = self.window.pixels.shape
        iy, ix = np.clip(iy, 0, height - 1), np.clip(ix, 0, width - 1)
        whole = self.window.pixels.ravel().take(iy * width + ix)
        if self.terms is None:
            return np.asarray(whole)
        exact = (y.part == 0) & (x.part == 0)
        if exact.all():
            return np.asarray(whole)
        base = iy * (width + 4) + ix
        out = to_dtype(self._summed(base, y.part, x.part), self.window.pixels.dtype)
        if self.unknown is not None:
            out[self._touched(base, y.part, x.part)] = np.nan if out.dtype.kind == "f" else 0
        if exact.any():
            out[exact] = whole[exact]
        return out

    def _summed(self, base: Indices, ty: Float, tx: Float) -> Any:
        """Return (2); ``base`` is the pixel two rows and two columns before the one below the place."""
        flat, width = self.terms.ravel(), self.terms.shape[1]
        reach = range(1, 5) if self.cubic else range(2, 4)
        by, bx = (_spline(t) if self.cubic else (1 - t, t) for t in (ty, tx))
        out = np.zeros(base.shape, flat.dtype)
        row, term = np.empty_like(out), np.empty_like(out)
        for k, wy in zip(reach, by, strict=True):
            row.fill(0)
            for m, wx in zip(reach, bx, strict=True):
                # The last terms of the last pixels would begin behind the end: "clip" never has to.
                np.take(flat[k * width + m :], base, out=term, mode="clip")
                term *= wx
                row += term
            row *= wy
            out += row
        return out

    def _touched(self, base: Indices, ty: Float, tx: Float) -> Array:
        """Return True where one of the four pixels around the place is unknown."""
        flat, width = self.unknown.ravel(), self.unknown.shape[1]
        out = np.zeros(base.shape, bool)
        for k, on_y in ((2, True), (3, ty > 0)):
            for m, on_x in ((2, True), (3, tx > 0)):
                out |= np.take(flat[k * width + m :], base, mode="clip") & on_y & on_x
        return out


def _spline(t: Any) -> tuple[Any, ...]:
    """Return the four weights (2) of places ``t`` in [0, 1) behind the second pixel."""
    s = 1 - t
    return (s * s * s / 6, (4 - 6 * t * t + 3 * t * t * t) / 6, (4 - 6 * s * s + 3 * s * s * s) / 6, t * t * t / 6)


def _filled(values: Any, unknown: Array) -> Any:
    """Return values [h, w] whose unknown pixels hold their nearest known one, so that the spline stays calm."""
    if unknown.all():
        return np.zeros_like(values)
    nearest = distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return values[tuple(nearest)]
