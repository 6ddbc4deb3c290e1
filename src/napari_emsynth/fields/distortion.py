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
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

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
    rows, columns = (_spline(n, pitch) for n in shape)
    noise = rng.standard_normal((2, rows.shape[1], columns.shape[1]))
    noise = gaussian_filter(noise, (0, NODES, NODES), mode="wrap")
    # Unit noise smoothed by a Gaussian of deviation s keeps a variance of 1 / (4 pi s^2) a component; the spline
    # smooths like a Gaussian of variance 1/3.
    noise *= np.sqrt(2 * np.pi * (NODES**2 + 1 / 3))
    return np.asarray(rows @ noise @ columns.T, dtype=np.float32)


def _spline(length: int, pitch: float) -> NDArray[np.float64]:
    """Return weights [length, nodes] of the cubic B-spline over nodes ``pitch`` px apart."""
    at = np.arange(length) / pitch + RIM
    away = np.abs(at[:, None] - np.arange(int(np.ceil(at[-1])) + RIM)[None, :])
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, near, far)
