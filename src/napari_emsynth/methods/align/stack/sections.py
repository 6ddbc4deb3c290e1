"""Sections as registrars see them: normalised one by one, with what of them is tissue.

Laws: a section is read once while it is needed; memory does not grow with the stack. Pixels that are empty, that were
declared dirt, or that lie in a patch of one value are unknown, and show the section's mean.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

from napari_emsynth.fields.resample import Interpolation, Window, pulled
from napari_emsynth.methods.align.protocol import Mask
from napari_emsynth.methods.align.stack.constraints import IGNORED, Constraints
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Float, Volume

# A patch of one value this large, in px, is no tissue: cameras are never that quiet.
EMPTY_PX = 5


@dataclass(frozen=True, eq=False)
class Section:
    """One section.

    Args:
        index: in the stack.
        image: [y, x] normalised float32; 0 where unknown.
        known: [y, x] True where it is tissue; None where all of it is.
    """

    index: int
    image: Float
    known: Mask | None

    @property
    def share_known(self) -> float:
        """Share of the section that is tissue, 0 to 1."""
        return 1.0 if self.known is None else float(self.known.mean())

    def moved_by(self, u: Float) -> Section:
        """Return the section pulled by a dense field [2, y, x] px; what comes from outside is unknown."""
        image, outside = pull(self.image, u, "cubic")
        known = ~outside
        if self.known is not None:
            known &= pull(self.known, u, "nearest")[0]
        return Section(self.index, np.where(known, image, 0.0).astype(np.float32), _if_any(known))


class Sections:
    """Reads the sections of a stack, a few of them kept.

    Args:
        volume: [z, y, x].
        constraints: for its materials.
        keep: how many are kept.
    """

    def __init__(self, volume: Volume, constraints: Constraints, keep: int = 8) -> None:
        self.volume, self.constraints, self.keep = volume, constraints, keep
        self._kept: OrderedDict[int, Section] = OrderedDict()

    def __getitem__(self, z: int) -> Section:
        """Return section ``z``."""
        if z not in self._kept:
            self._kept[z] = self._read(z)
            while len(self._kept) > self.keep:
                self._kept.popitem(last=False)
        self._kept.move_to_end(z)
        return self._kept[z]

    def _read(self, z: int) -> Section:
        pixels = self.volume.section(z)
        empty = Emptiness(self.volume).section(z, pixels=pixels)
        return normalised(z, pixels, self.constraints.material(z), empty)


def normalised(z: int, pixels: Array, material: Array | None = None, empty: Mask | None = None) -> Section:
    """Return a section [y, x] of any real dtype as registrars see it.

    Args:
        z: index of the section.
        pixels: [y, x].
        material: [y, x] 0 tissue, 1 fold or crack, 2 dirt or empty; None for tissue.
        empty: [y, x] True where nothing was acquired; None where everything was.
    """
    known = tissue(pixels)
    if empty is not None:
        known &= ~empty
    if material is not None:
        known &= material != IGNORED
    mean, std = robust_mean_std(pixels[known][None] if known.any() else pixels)
    image = np.where(known, (pixels.astype(np.float64) - mean) / std, 0.0)
    return Section(index=z, image=image.astype(np.float32), known=_if_any(known))


def tissue(pixels: Array) -> Mask:
    """Return where a section [y, x] shows anything: finite, and not a patch of one value."""
    finite = np.isfinite(pixels) if pixels.dtype.kind == "f" else np.ones(pixels.shape, bool)
    values = np.where(finite, pixels, 0)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    flat = maximum_filter(values, EMPTY_PX) == minimum_filter(values, EMPTY_PX)
    if flat.any():
        flat = binary_dilation(flat, iterations=EMPTY_PX // 2)
    return np.asarray(finite & ~flat)


def pull(image: Array, u: Float, how: Interpolation) -> tuple[Array, Mask]:
    """Return the pulled image, and where it comes from outside."""
    return pulled(Window(image, 0, 0, (image.shape[0], image.shape[1])), u, (0, 0), how)


def _if_any(known: Mask) -> Mask | None:
    return None if known.all() else known
