"""Pixels and the finer pixels they are the means of, written as operators, and back-projection between them.

With ``f`` the factor, ``x`` fine pixels and ``a`` the acquired ones::

    a = R x,   (R x)_i = mean of the f x f fine pixels that pixel i covers                       (1)
    x <- x + B (a - R x)                 B: bicubic enlargement                                  (2)
    x <- x + R^T (R R^T)^-1 (a - R x)                                                            (3)

(2) is one step of iterative back-projection (Irani & Peleg 1991): it takes what is missing where it belongs without
showing the acquired pixels' edges. (3) is exact, whatever is left: every fine pixel of a block moves by the same.

Law: after (3) the block means are what was acquired; rounded, bit for bit for integers. Arrays are [y, x] float32, in
any units. On the FIB-SEM training volume bicubic enlargement by 8 has 24.66 dB, 24.94 dB with (3) alone, 25.03 dB with
both. Moving uncertain pixels further than others changes nothing on held-out sections (26.705 dB either way).
"""

from __future__ import annotations

import numpy as np
import torch

from napari_emsynth.methods.superres.finer import unfolded
from napari_emsynth.methods.upsample.acquisition import rounded_with_means
from napari_emsynth.metrics.image import bin2
from napari_emsynth.nn import lateral
from napari_emsynth.volume import Array, Float

# Acquired pixels on each side that (2) looks at.
REACH = 2


def reduced(fine: Array, factor: int) -> Float:
    """Return the block means (1) of a section: [f y, f x] -> [y, x] float32."""
    return bin2(fine, factor).astype(np.float32)


def enlarged(coarse: Array, factor: int) -> Float:
    """Return the bicubic enlargement of a section: [y, x] -> [f y, f x] float32."""
    image = torch.from_numpy(np.ascontiguousarray(coarse, np.float32))[None, None]
    return np.asarray(lateral.enlarged(image, factor)[0, 0].numpy())


def repeated(coarse: Array, factor: int) -> Array:
    """Return a section with every pixel repeated ``factor`` x ``factor`` times: the nearest-pixel enlargement."""
    return coarse.repeat(factor, axis=0).repeat(factor, axis=1)


def consistent(fine: Float, acquired: Float, factor: int) -> Float:
    """Return a guess moved to where (1) holds: one step of (2), then (3).

    Args:
        fine: [f y, f x] the guess.
        acquired: [y, x].
        factor: f.
    """
    fine = fine + enlarged(acquired - reduced(fine, factor), factor)  # (2)
    return np.asarray(fine + repeated(acquired - reduced(fine, factor), factor), np.float32)  # (3)


def rounded(fine: Array, acquired: Array, factor: int) -> Array:
    """Round a section to the dtype of the acquired one so that block means stay exact.

    Args:
        fine: [f y, f x] in source units; block means near the acquired pixels.
        acquired: [y, x] integers or floats.
        factor: f.
    """
    return whole(rounded_with_means(cells(fine, factor), acquired[None], factor**2), factor)


def cells(fine: Array, factor: int) -> Array:
    """Return a section's fine pixels by the pixel they are part of: [f y, f x] -> [f f, y, x]."""
    y, x = (n // factor for n in fine.shape)
    pixels = fine.reshape(y, factor, x, factor).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(pixels).reshape(factor**2, y, x)


def whole(parts: Array, factor: int) -> Array:
    """Return a section made of its :func:`cells`: [f f, y, x] -> [f y, f x]."""
    section: Array = unfolded(parts, factor)[0]
    return section
