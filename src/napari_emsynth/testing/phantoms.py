"""EM-like volumes with a known answer at every depth, between sections too.

A phantom is a function of a real z: cells are Voronoi regions of points that drift smoothly, membranes are
the dark lines between them, cytoplasm has a grey level per cell and a fine texture that moves with depth,
mitochondria are dark bodies. ``clean(z)`` is that function without noise; ``volume()`` samples it at whole
sections and adds camera noise that is independent from section to section. With ``jitter`` each section is sampled at
positions moved by a known shift, exactly, without interpolating voxels.

Conventions: z, y, x; clean intensities are 0 to 255, and :attr:`Phantom.scale` maps them to the dtype:
uint8 as they are, uint16 and int16 (centred on zero) times 100, floats divided by 255.
Laws: the same phantom gives the same voxels; ``clean`` is continuous in z; ``volume(noise=0)`` rounds
``clean``; section ``z`` of a jittered volume is ``clean(z, shifts[z])``, pull convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_emsynth.grid import Shape, Triple
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.volume import Array, Float, Volume

Float64 = NDArray[np.float64]

# Grey levels of the clean image.
CYTOPLASM, MEMBRANE, MITOCHONDRION = 170.0, 50.0, 85.0


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Recipe of one EM-like volume.

    Args:
        shape: sections, rows, columns.
        seed: of everything drawn.
        dtype: of the volume, byte order included.
        noise: standard deviation of the camera noise in clean grey levels (0 to 255).
        drift: how far structures move from one section to the next, in px.
        cell_px: mean distance of neighbouring cells in px.
        voxel_nm: voxel size z, y, x in nm; None when unknown.
        jitter: standard deviation of the sections' shifts, in px.
    """

    shape: Shape = (12, 64, 64)
    seed: int = 0
    dtype: str = "uint8"
    noise: float = 4.0
    drift: float = 0.7
    cell_px: float = 16.0
    voxel_nm: Triple | None = (10.0, 10.0, 10.0)
    jitter: float = 0.0

    @property
    def scale(self) -> tuple[float, float]:
        """Gain and offset from clean grey levels to the dtype's intensities."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return 1 / 255, 0.0
        if dtype.itemsize == 1:
            return 1.0, -128.0 if dtype.kind == "i" else 0.0
        return 100.0, -12_800.0 if dtype.kind == "i" else 1_000.0

    @property
    def shifts(self) -> Float64:
        """Known shifts [z, 2] (dy, dx) in px of the sections of :meth:`volume`; their mean is 0."""
        drawn = np.random.default_rng((self.seed, 2**32)).normal(0.0, 1.0, (self.shape[0], 2))
        return np.asarray(self.jitter * (drawn - drawn.mean(axis=0)))

    def clean(self, z: float, shift: tuple[float, float] = (0.0, 0.0)) -> Float:
        """Return the noise-free image [y, x] float32, 0 to 255, at any depth in sections.

        Args:
            z: depth in sections.
            shift: (dy, dx) px; pixel p shows what is at p + shift.
        """
        rng = np.random.default_rng(self.seed)
        points, grey, is_mito = self._cells(z, rng)
        texture = self._texture(z, rng, shift)
        y, x = np.mgrid[: self.shape[1], : self.shape[2]] + np.reshape(shift, (2, 1, 1))
        where = np.stack([y.ravel(), x.ravel()], axis=1)
        distance, nearest = cKDTree(points).query(where, k=2)
        body = np.where(is_mito, MITOCHONDRION, CYTOPLASM) + grey
        # A mitochondrion fills the core of its cell, with a soft rim one pixel wide.
        core = is_mito[nearest[:, 0]] * np.clip(0.35 * self.cell_px - distance[:, 0], 0, 1)
        level = (1 - core) * (CYTOPLASM + grey[nearest[:, 0]]) + core * body[nearest[:, 0]]
        # The gap between the two nearest points vanishes on the border: a membrane about 3 px wide.
        wall = np.exp(-(((distance[:, 1] - distance[:, 0]) / 2.5) ** 2))
        image = (level + texture.ravel()) * (1 - wall) + MEMBRANE * wall
        return np.clip(image, 0, 255).reshape(self.shape[1:]).astype(np.float32)  # type: ignore[no-any-return]

    def _cells(self, z: float, rng: np.random.Generator) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """Return cell points [n, 2] in px at depth z, grey offsets [n], and who holds a mitochondrion."""
        _, height, width = self.shape
        margin = 2 * self.cell_px
        rows = int(np.ceil((height + 2 * margin) / self.cell_px)) + 1
        columns = int(np.ceil((width + 2 * margin) / self.cell_px)) + 1
        grid = np.stack(list(np.mgrid[:rows, :columns]), axis=-1).reshape(-1, 2) * self.cell_px - margin
        points = grid + rng.uniform(-0.3, 0.3, grid.shape) * self.cell_px
        # Each point circles slowly: speed = 2 pi radius / period = drift.
        period = rng.uniform(20, 45, (len(grid), 1))
        phase = rng.uniform(0, 2 * np.pi, (len(grid), 1)) + 2 * np.pi * z / period
        radius = self.drift * period / (2 * np.pi)
        points = points + radius * np.concatenate([np.sin(phase), np.cos(phase)], axis=1)
        return points, rng.uniform(-20, 20, len(grid)), rng.random(len(grid)) < 0.25

    def _texture(self, z: float, rng: np.random.Generator, shift: tuple[float, float]) -> Float64:
        """Return a fine texture [y, x]: plane waves of 5 to 14 px that also oscillate in depth."""
        y, x = (np.arange(n)[:, None] + s for n, s in zip(self.shape[1:], shift, strict=True))
        out = np.zeros(self.shape[1:])
        for _ in range(12):
            angle, period = rng.uniform(0, 2 * np.pi), rng.uniform(5, 14)
            phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * z / (2 * period) * rng.choice((-1, 1))
            ky, kx = 2 * np.pi * np.sin(angle) / period, 2 * np.pi * np.cos(angle) / period
            # A plane wave is separable: cos(a + b) = cos a cos b - sin a sin b.
            a, b = ky * y + phase, kx * x
            out += np.cos(a) @ np.cos(b).T - np.sin(a) @ np.sin(b).T
        return out * 4.0

    def to_dtype(self, clean: Any) -> Array:
        """Map clean grey levels (any shape, 0 to 255) to the phantom's dtype, rounded and clipped."""
        gain, offset = self.scale
        native = np.dtype(self.dtype).newbyteorder("=")
        return to_dtype(np.asarray(clean, dtype=np.float32) * gain + offset, native).astype(self.dtype)

    def volume(self) -> Volume:
        """Return the sampled volume with noise, and jitter if there is any."""
        sections = []
        for z, (dy, dx) in enumerate(self.shifts):
            rng = np.random.default_rng((self.seed, z))
            seen = self.clean(z, (float(dy), float(dx)))
            sections.append(self.to_dtype(seen + rng.normal(0.0, 1.0, self.shape[1:]) * self.noise))
        # np.stack returns native byte order; the dtype asked for may be foreign.
        return Volume.of(np.stack(sections).astype(self.dtype), voxel_nm=self.voxel_nm, name="phantom")


def with_unknown(volume: Volume, share: float = 0.1) -> Volume:
    """Return a float copy of a volume whose first columns are NaN, as an aligned stack's empty margin is.

    Args:
        volume: a volume of floats held in memory.
        share: of the columns, at least one.
    """
    data = np.array(volume.data)
    data[:, :, : max(1, round(share * data.shape[2]))] = np.nan
    return Volume(data=data, grid=volume.grid, name=volume.name)


def margins(shape: tuple[int, int, int]) -> Array:
    """Return margins that differ from section to section, as a stack that was shifted has: [z, y, x], True where empty.

    Args:
        shape: of the stack, at least 64 x 64 px.
    """
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return np.asarray((x < 8 + 5 * (z % 3)) | (y >= shape[1] - 4 - 6 * (z % 2)))
