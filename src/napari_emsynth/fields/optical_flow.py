"""Classical optical flow, as interpolation and alignment use it: iterative Lucas-Kanade, at full resolution or below.

Conventions: flows are [2, y, x] (dy, dx) px, pull convention: ``fixed(p) ~ moving(p + u(p))``. Laws: two equal
sections give no flow; sections too small for the flow's window are refused by :func:`fits`, not guessed at.

The flow is that of Le Besnerais & Champagnat 2005, "Dense optical flow by iterative local window registration", as
scikit-image provides it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from napari_emsynth.volume import Float

# Below this edge the flow's window does not fit.
SMALLEST_EDGE = 16
# Blur before shrinking, in px for every px that is lost.
SHRINK_BLUR_PX = 0.6


def pull(section: Float, displacement: Float) -> Float:
    """Return ``section(p + u(p))``; section [y, x], displacement [2, y, x] (dy, dx) px."""
    grid = np.indices(section.shape, dtype=np.float32)
    return np.asarray(map_coordinates(section, grid + displacement, order=1, mode="nearest"), dtype=np.float32)


def fits(shape: tuple[int, ...], by: int = 1) -> bool:
    """Return whether sections of this shape (y, x), shrunk ``by`` times, are large enough for a flow."""
    return min(shape) >= by * SMALLEST_EDGE


def flow(fixed: Float, moving: Float, radius: int, warps: int, *, prefilter: bool = True) -> Float:
    """Return the displacement [2, y, x] px with which ``moving`` shows what ``fixed`` does.

    Args:
        fixed: [y, x] normalised.
        moving: [y, x] normalised.
        radius: of the window that moves as one, px.
        warps: at each scale.
        prefilter: take the median of the flow between warps.
    """
    from skimage.registration import optical_flow_ilk

    found = optical_flow_ilk(fixed, moving, radius=radius, num_warp=warps, prefilter=prefilter, dtype=np.float32)
    return np.asarray(found, dtype=np.float32)


def shrunk(section: Float, by: int) -> Float:
    """Return a section at ``1 / by`` of its resolution: [y, x] -> [y / by, x / by]."""
    if by == 1:
        return section
    smooth = gaussian_filter(section, SHRINK_BLUR_PX * (by - 1))
    return np.asarray(zoom(smooth, 1 / by, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def enlarged(found: Float, shape: tuple[int, ...]) -> Float:
    """Return a flow [2, y', x'] of shrunk sections as that of sections of ``shape`` (y, x), vectors scaled too."""
    if found.shape[1:] == shape:
        return found
    factors = np.divide(shape, found.shape[1:])
    full = [f * zoom(u, factors, order=1, grid_mode=True, mode="nearest") for u, f in zip(found, factors, strict=True)]
    return np.stack(full).astype(np.float32)
