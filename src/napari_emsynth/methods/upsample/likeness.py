"""How alike pixels of a volume are, measured once: what :mod:`napari_emsynth.models.kriging` needs to know of it.

Laws: the same for eager and lazy volumes; damaged sections have no say; a volume without structure is taken to be like
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from napari_emsynth.methods.blocks import middle, spread
from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.metrics.neighbours import correlation_of, noise_of
from napari_emsynth.models.kriging import Correlation
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime, no_progress
from napari_emsynth.trust.intact import left_out
from napari_emsynth.trust.remembered import of_the_whole
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Float, Volume

# Sections that are looked at, each with the one after it, and the edge of their middle, px.
SECTIONS, EDGE = 8, 512
# Shorter edges show no distances.
SHORTEST = 8


@dataclass(frozen=True)
class Likeness:
    """What was measured of a volume.

    Args:
        correlation: of pixels in the plane of its sections.
        spacing_px: distance of its sections, see :meth:`napari_emsynth.models.kriging.Correlation.spacing`; None takes
            sections to be as many px apart as fine sections are made of one.
        alike: correlation of neighbouring sections, -1 to 1.
        noise: deviation of their noise, normalised units.
    """

    correlation: Correlation = field(default_factory=Correlation.usual)
    spacing_px: float | None = None
    alike: float = 1.0
    noise: float = 0.0

    @classmethod
    def of_pairs(cls, correlation: Correlation, pairs: Sequence[tuple[Float, Float]], sampling: Sampling) -> Likeness:
        """Return that of a volume, by how alike some sections [y, x] and the ones next to them are, normalised."""
        told = [(a, b) for a, b in pairs if a.any() or b.any()]
        if not told:
            return cls(correlation)
        products = [2 * float((a * b).mean()) / float((a * a).mean() + (b * b).mean()) for a, b in told]
        spacing = correlation.spacing(float(np.median(products)), slab=sampling == "slab")
        alike, noise = (float(np.median([of(a, b) for a, b in told])) for of in (correlation_of, noise_of))
        return cls(correlation, spacing, alike, noise)

    def apart(self, factor: float) -> float:
        """Return the distance of the sections in px, of a volume that is upsampled by ``factor``."""
        return factor if self.spacing_px is None else self.spacing_px

    def posed(self) -> Likeness:
        """Return that of rows of the volume, posed as sections."""
        return replace(self, spacing_px=None)


UNKNOWN = Likeness()


def likeness(volume: Volume, norm: Normalisation, sampling: Sampling, runtime: Runtime = Runtime()) -> Likeness:
    """Measure a volume, or return what was measured before.

    Args:
        volume: [z, y, x].
        norm: of it.
        sampling: what a section is.
        runtime: asked whether to go on.
    """
    key = (sampling, norm.mean, norm.std)
    return of_the_whole(volume, "likeness", key, lambda: _measured(volume, norm, sampling, runtime))


def _measured(volume: Volume, norm: Normalisation, sampling: Sampling, runtime: Runtime) -> Likeness:
    count, height, width = volume.shape
    wanted = spread(max(1, count - 1), SECTIONS)
    near = sorted({z for section in wanted for z in (section, section + 1) if z < count})
    damaged = left_out(volume, near, runtime=replace(runtime, progress=no_progress))
    y, x = middle(height, EDGE), middle(width, EDGE)
    seen = {z: _shown(volume, z, (y, x), norm) for z in near if z not in damaged}
    if not seen or min(height, width) < SHORTEST:
        return UNKNOWN
    correlation = Correlation.measured(list(seen.values()))
    pairs = [(seen[z], seen[z + 1]) for z in wanted if z in seen and z + 1 in seen]
    return Likeness.of_pairs(correlation, pairs, sampling)


def _shown(volume: Volume, z: int, window: tuple[slice, slice], norm: Normalisation) -> Float:
    """Return a window of a section, normalised; 0, the mean, where it is empty."""
    pixels = volume.section(z, *window)
    shown, empty = norm.forward(pixels), Emptiness(volume).section(z, *window, pixels=pixels)
    return shown if empty is None else np.where(empty, np.float32(0), shown)
