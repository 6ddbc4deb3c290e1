"""Known distortions of sections: what a microscope, a knife and a stitcher do to them, drawn at random.

A distortion is a shift, a rotation about the middle, and a smooth random field::

    u(p) = s + (R(theta) - 1)(p - c) + a w(p)                                               (1)

with ``w`` smooth normal noise of unit root mean square magnitude, correlated over ``wavelength_px``. Displacements
are [2, y, x] (dy, dx) px, pull convention. Laws: the same generator state gives the same field; all sizes zero give
the zero field; the field is defined by the section, not by a crop of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, zoom

from napari_emsynth.volume import Float

# Smooth noise is drawn on a grid with so many nodes a correlation length, and so many more beyond each edge.
NODES, RIM = 2, 4


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """How strongly sections are distorted.

    Args:
        shift_px: deviation of each component of the shift, px.
        rotation_deg: deviation of the rotation, degrees.
        warp_px: root mean square magnitude of the smooth field, px.
        wavelength_px: length over which the smooth field is correlated, px: the deviation of the Gaussian that
            smooths the noise.
    """

    shift_px: float = 2.0
    rotation_deg: float = 0.3
    warp_px: float = 1.0
    wavelength_px: float = 48.0

    def draw(self, rng: Generator, shape: tuple[int, int]) -> Float:
        """Return one distortion (1) of a section.

        Args:
            rng: source of randomness.
            shape: (y, x) px of the section.

        Returns:
            [2, y, x] (dy, dx) px float32.
        """
        height, width = shape
        shift = rng.normal(0.0, 1.0, 2) * self.shift_px
        theta = np.deg2rad(rng.normal() * self.rotation_deg)
        y = (np.arange(height) - (height - 1) / 2)[:, None]
        x = (np.arange(width) - (width - 1) / 2)[None, :]
        c, s = np.cos(theta) - 1, np.sin(theta)
        turned = np.stack((c * y - s * x, s * y + c * x))
        warp = self.warp_px * smooth_field(rng, shape, self.wavelength_px)
        return np.asarray(shift[:, None, None] + turned + warp, dtype=np.float32)  # (1)


def smooth_field(rng: Generator, shape: tuple[int, int], wavelength_px: float) -> Float:
    """Return smooth normal noise [2, y, x] whose magnitude has an expected root mean square of 1.

    Args:
        rng: source of randomness.
        shape: (y, x) px.
        wavelength_px: correlation length in px.
    """
    pitch = max(1.0, wavelength_px / NODES)
    nodes = [int(np.ceil(n / pitch)) + 2 * RIM for n in shape]
    noise = gaussian_filter(rng.standard_normal((2, *nodes)), (0, NODES, NODES), mode="wrap")
    # Filtering unit noise by a Gaussian of deviation s leaves a variance of 1 / (4 pi s^2) a component.
    noise *= np.sqrt(4 * np.pi) * NODES / np.sqrt(2)
    fine = np.stack([zoom(c, pitch, order=3, mode="grid-wrap", grid_mode=True) for c in noise])
    top, left = (int(round(RIM * pitch)) for _ in shape)
    return np.asarray(fine[:, top : top + shape[0], left : left + shape[1]], dtype=np.float32)
