"""What one pass over a volume measures of every section, one section in memory at a time.

Conventions: sections are [y, x] of any real dtype; what is empty (:mod:`napari_emsynth.trust.validity`) counts as
"nothing there"; a match says how far the section's structures lie from those of an earlier section, (dy, dx) px.
Laws: brightness and contrast leave ``sharpness`` and ``matches`` unchanged; the thumbnails of the last few
sections are all that is kept of the images, so memory grows by a few kilobytes a section; what is measured of a section
does not depend on which others are asked for.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from napari_emsynth.metrics.image import bin2
from napari_emsynth.metrics.spectrum import MID_BAND, radial_power
from napari_emsynth.spec import CancelToken, Progress
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.remembered import memory, prints
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Float, Volume

Float64 = NDArray[np.float64]

GRID = 16
"""Blocks along each edge for local texture and clipping."""
THUMB_PX = 256
"""Shorter edge of the thumbnails that are matched, at most twice this."""
PATCH_PX = 256
"""Edge of the full-resolution patches whose sharpness is measured; three along each edge at most."""
MOSTLY = 0.5
"""Largest share of a patch that may be empty."""
LOW_BAND = (0.02, 0.1)
"""Coarse structure in cycles/px: what the sharpness is measured against."""
HIGH_BAND = (0.35, 0.5)
"""Frequencies in cycles/px where noise outweighs tissue."""
GLANCED_SECTIONS, GLANCED_BYTES = 16, 1 << 28
"""Most sections, and bytes, that a glance reads at once."""
INVERTED = 1.25
"""A trough this much deeper than the highest peak is no chance."""
REACH = 3
"""A section is matched with this many earlier ones."""


@dataclass(frozen=True)
class Match:
    """How one section lies on an earlier one.

    Args:
        step: how many sections earlier.
        dy, dx: displacement in px of the full-resolution section.
        quality: correlation peak over the next best one elsewhere; 1 = chance.
        correlation: of the two where they lie on each other, structures of 2 to 16 thumbnail px; -1 to 1.
        inverted: one is certainly the negative of the other.
    """

    step: int
    dy: float
    dx: float
    quality: float
    correlation: float = 0.0
    inverted: bool = False


@dataclass(frozen=True)
class Features:
    """What is measured of one section.

    Args:
        section: 0-based index.
        digest: equal for bit-identical sections only.
        contrast: standard deviation of structures (of 2 to 16 thumbnail px), in intensity units.
        texture: [gy, gx] standard deviation within blocks, pixel noise averaged out; 0 where nothing is.
        clipped: share of pixels at the section's brightest value, in blocks that are not entirely so; 0 to 1.
        clipped_dark: the same at the darkest value.
        brightest: the brightest value.
        level: mean intensity.
        spread: standard deviation of intensities.
        sharpness: [p] log of mid-band over low-band power of each patch; NaN where most of a patch is empty.
        noise: [p] the same of the highest frequencies, where noise outweighs tissue.
        matches: with up to three earlier sections, nearest first.
        missing: nothing of it was acquired, as what is known of the volume says.
    """

    section: int
    digest: bytes
    contrast: float
    texture: Float
    clipped: float
    clipped_dark: float
    brightest: float
    level: float
    spread: float
    sharpness: Float
    noise: Float
    matches: tuple[Match, ...]
    missing: bool = False


def _cut(image: Array, count: int) -> Array:
    """Return an image cut into about ``count`` x ``count`` blocks, [gy, rows, gx, columns]; the rest is dropped."""
    sizes = [max(1, n // count) for n in image.shape]
    gy, gx = image.shape[0] // sizes[0], image.shape[1] // sizes[1]
    return image[: gy * sizes[0], : gx * sizes[1]].reshape(gy, sizes[0], gx, sizes[1])


def _texture(image: Float64) -> Float:
    """Return the standard deviation within blocks [gy, gx]."""
    blocks = _cut(image, GRID).transpose(0, 2, 1, 3)
    return np.asarray(blocks.reshape(*blocks.shape[:2], -1).std(axis=-1), np.float32)


def _clipped(equal: NDArray[np.bool_]) -> float:
    """Return the share of pixels that are ``equal``, in blocks that are not entirely so.

    An empty half is equal too, but block by block; overexposure leaves islands of structure everywhere.
    """
    blocks = _cut(equal, 2 * GRID)
    shares = blocks.sum(axis=1, dtype=np.int32).sum(axis=-1) / (blocks.shape[1] * blocks.shape[3])
    mixed = shares < 0.98
    return float(shares[mixed].mean()) if mixed.any() else 0.0


def _patch_starts(n: int) -> list[int]:
    """Return where up to three patches begin along an edge of ``n`` px, evenly spread."""
    count = min(3, max(1, n // PATCH_PX))
    return [round(k * (n - min(n, PATCH_PX)) / max(1, count - 1)) for k in range(count)]


def _over_low(patch: Float64) -> tuple[float, float]:
    """Return the log ratios of mid-band and of high-band to low-band power; NaN without structure or such a band."""
    frequency, power = radial_power(patch)
    bands = []
    for low, high in (MID_BAND, HIGH_BAND, LOW_BAND):
        inside = power[(frequency >= low) & (frequency <= high) & np.isfinite(power)]
        bands.append(float(inside.mean()) if inside.size else 0.0)
    mid, fine = (math.log(band / bands[2]) if min(band, bands[2]) > 0 else math.nan for band in bands[:2])
    return mid, fine


def _bands(image: Float64, empty: Mask | None) -> tuple[Float, Float]:
    """Return the log ratios of mid and of high to low band of each patch, [p] each."""
    corners = [(y, x) for y in _patch_starts(image.shape[0]) for x in _patch_starts(image.shape[1])]
    windows = [(slice(y, y + PATCH_PX), slice(x, x + PATCH_PX)) for y, x in corners]
    shown = (empty is None or empty[window].mean() <= MOSTLY for window in windows)
    found = [_over_low(image[w]) if shows else (math.nan,) * 2 for w, shows in zip(windows, shown, strict=True)]
    mid, fine = np.array(found, dtype=np.float32).T
    return mid, fine


def _digest(section: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(section).data, digest_size=16).digest()


def _filled(section: Array, empty: Mask | None) -> Float64:
    """Return a section whose empty pixels have the median of the others."""
    if empty is None:
        return section.astype(np.float64)
    middle = 0.0 if empty.all() else float(np.median(section[~empty]))
    return np.where(empty, middle, section).astype(np.float64)


def _contrast(detail: Float64, empty: Mask | None) -> float:
    """Return the standard deviation of what a section shows; ``detail`` is level where the section is empty."""
    shown = 1.0 if empty is None else float(1 - empty.mean())
    return float(detail.std()) / math.sqrt(shown) if shown > 0 else 0.0


def _intensities(image: Float64, empty: Mask | None) -> tuple[float, float]:
    """Return mean and standard deviation of what a section shows."""
    shown = image if empty is None else image[~empty]
    return (float(shown.mean()), float(shown.std())) if shown.size else (0.0, 0.0)


def _detail(image: Float64) -> tuple[Float64, int]:
    """Return a small, high-passed copy of a section, and by which factor it is smaller."""
    factor = max(1, -(-min(image.shape) // THUMB_PX))
    small = bin2(image, factor)
    return gaussian_filter(small, 1.0) - gaussian_filter(small, 8.0), factor


class _Thumb:
    """The Fourier transform of a small, high-passed, windowed copy of a section, ready to be matched."""

    def __init__(self, section: Array, empty: Mask | None) -> None:
        self.image = _filled(section, empty)
        detail, self.factor = _detail(self.image)
        self.shape = detail.shape
        self.contrast = _contrast(detail, empty)
        # Dirt and borders may not outweigh tissue.
        limited = np.clip(detail / (self.contrast or 1.0), -3, 3)
        window = [np.sin(np.pi * (np.arange(n) + 0.5) / n) for n in detail.shape]
        seen = (limited * np.outer(*window)).astype(np.float32)
        self.norm = float(np.linalg.norm(seen))
        self.spectrum = fft.rfft2(seen)

    def match(self, earlier: _Thumb, step: int) -> Match:
        """Correlate with an earlier thumbnail.

        The cross-power is divided by the root of its modulus: full whitening (phase correlation) locks on
        noise and fixed patterns, none at all blurs the peak.
        """
        cross = self.spectrum * np.conj(earlier.spectrum)
        surface = fft.irfft2(cross / np.sqrt(np.abs(cross) + 1e-12), s=self.shape)
        # The negative of a section answers with a trough that nothing else comes near.
        inverted = -float(surface.min()) > INVERTED * float(surface.max())
        if inverted:
            surface = -surface
        peak = np.unravel_index(int(surface.argmax()), self.shape)
        best = float(surface[peak])
        norms = self.norm * earlier.norm
        overlap = float(fft.irfft2(cross, s=self.shape)[peak]) / norms if norms else 0.0
        near = np.ix_(*[(np.arange(-4, 5) + p) % n for p, n in zip(peak, self.shape, strict=True)])
        surface[near] = 0
        rest = float(surface.max())
        dy, dx = ((int(p) + n // 2) % n - n // 2 for p, n in zip(peak, self.shape, strict=True))
        quality = best / rest if rest > 0 else 1.0
        return Match(step, float(dy * self.factor), float(dx * self.factor), quality, overlap, inverted)


def _measure(section: Array, z: int, emptiness: Emptiness, earlier: Sequence[_Thumb]) -> tuple[Features, _Thumb]:
    empty = emptiness.section(z, pixels=section)
    thumb = _Thumb(section, empty)
    image = thumb.image
    # Kept for those that follow; the whole section is not.
    del thumb.image
    # 2 x 2 bins: camera noise alone must not pass for texture.
    binned = bin2(image, 2 if min(image.shape) >= 4 else 1)
    top, bottom = float(image.max()), float(image.min())
    level, spread = _intensities(image, empty)
    sharpness, noise = _bands(image, empty)
    features = Features(
        section=z,
        digest=_digest(section),
        contrast=thumb.contrast,
        texture=_texture(binned),
        clipped=_clipped(image == top) if top > bottom else 0.0,
        clipped_dark=_clipped(image == bottom) if top > bottom else 0.0,
        brightest=top,
        level=level,
        spread=spread,
        sharpness=sharpness,
        noise=noise,
        matches=tuple(thumb.match(other, step) for step, other in enumerate(earlier, start=1)),
        missing=emptiness.missing(z),
    )
    return features, thumb


class _Earlier:
    """The thumbnails of the sections just before one, each made once."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self._made: dict[int, _Thumb] = {}

    def before(self, z: int) -> list[_Thumb]:
        """Return the thumbnails of the last sections before ``z``, the nearest first."""
        return [self._of(n) for n in range(z - 1, max(-1, z - 1 - REACH), -1)]

    def keep(self, z: int, thumb: _Thumb) -> None:
        """Remember one; those too far back to be asked for again are forgotten."""
        self._made[z] = thumb
        if len(self._made) > REACH + 1:
            del self._made[min(self._made)]

    def _of(self, z: int) -> _Thumb:
        if z not in self._made:
            section = self.volume.section(z)
            thumb = _Thumb(section, Emptiness(self.volume).section(z, pixels=section))
            del thumb.image
            self.keep(z, thumb)
        return self._made[z]


def stream(
    volume: Volume, progress: Progress, cancel: CancelToken | None, sections: range | None = None
) -> Iterator[Features]:
    """Yield the features of sections, in order, reading each once; what is remembered of the volume is not read again.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        progress: called after every section.
        cancel: asked before every section.
        sections: adjacent ones; None for all. Those just before them are looked at too, to match them.

    Raises:
        Cancelled: the token was cancelled.
    """
    sections = range(volume.shape[0]) if sections is None else sections
    known, earlier = memory(volume, "features"), _Earlier(volume)
    seen = prints(volume, range(max(0, sections.start - REACH), sections.stop))
    for done, z in enumerate(sections, start=1):
        if cancel is not None:
            cancel.check()
        on = tuple(seen[n] for n in range(max(0, z - REACH), z + 1))
        features = known.get(z, on)
        if features is None:
            features, thumb = _measure(volume.section(z), z, Emptiness(volume), earlier.before(z))
            earlier.keep(z, thumb)
            known.put(z, on, features)
        progress(done, len(sections), "looking for damage")
        yield features


@dataclass(frozen=True)
class Glance:
    """What tells whether a section has any information of its own, see :class:`Features`."""

    section: int
    digest: bytes
    contrast: float
    missing: bool = False


def glances(volume: Volume, progress: Progress, cancel: CancelToken | None) -> Iterator[Glance]:
    """Yield what a glance at every section shows, in order, reading each once; ten times faster than :func:`stream`.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        progress: called after every few sections.
        cancel: asked before them.

    Raises:
        Cancelled: the token was cancelled.
    """
    emptiness, (count, height, width) = Emptiness(volume), volume.shape
    # Several at once: a chunk of a lazy volume that holds more than one section is read once.
    depth = max(1, min(GLANCED_SECTIONS, GLANCED_BYTES // (height * width * volume.dtype.itemsize)))
    for first in range(0, count, depth):
        if cancel is not None:
            cancel.check()
        for z, section in enumerate(volume.read(slice(first, min(count, first + depth))), start=first):
            empty = emptiness.section(z, pixels=section)
            contrast = _contrast(_detail(_filled(section, empty))[0], empty)
            yield Glance(z, _digest(section), contrast, emptiness.missing(z))
        progress(min(count, first + depth), count, "looking for damage")
