"""Invisible seams around a synthesised region.

The error of the synthesis just outside the region (where the truth is known) is its low-frequency mismatch of
brightness and contrast; carried inwards, fading, and subtracted, it makes both sides meet::

    d(p) = sum_q G(p - q) k(q) (y(q) - m(q)) / sum_q G(p - q) k(q),   k = 1 outside the region       (1)
    m'(p) = m(p) + d(p) exp(-(distance to the intact part / fade)^2)                                 (2)

Law: a synthesis that is right at the border is not changed; a constant offset is removed there.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from napari_emsynth.volume import Float

# Width of G: wide enough to average the noise out, narrow enough to follow charging.
SIGMA_PX = 5.0
# How far inwards the correction reaches.
FADE_PX = 24.0
# A mismatch beyond this many deviations is damage outside the mask, not brightness.
CLIP = 1.0


def harmonise(mean: Float, partial: Float, keep: Float) -> Float:
    """Return ``mean`` with its mismatch at the border removed, equations (1) and (2).

    Args:
        mean: [y, x] synthesis, normalised.
        partial: [y, x] the section itself, normalised.
        keep: [y, x] 1.0 where ``partial`` is intact, 0.0 where it is replaced.
    """
    if keep.min() == keep.max():
        return mean
    weight = gaussian_filter(keep, SIGMA_PX)
    residual = np.clip((partial - mean) * keep, -CLIP, CLIP)
    mismatch = gaussian_filter(residual, SIGMA_PX) / np.maximum(weight, 1e-3)  # (1)
    inwards = distance_transform_edt(keep < 0.5)
    return np.asarray(mean + mismatch * np.exp(-((inwards / FADE_PX) ** 2)), dtype=np.float32)  # (2)
