"""Windows of sections as methods see them: normalised one by one, and tissue where any of them has tissue.

Where a section is empty the nearest of the others serves, one of the far side before one of its own. Law: what is seen
of a pixel does not depend on the window that it is read with, :data:`~napari_emsynth.trust.serving.FRINGE` px away
from where the window ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from napari_emsynth.methods.interpolate.plan import Window
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.serving import FRINGE, everywhere, served
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Float, Volume


@dataclass(frozen=True)
class Seen:
    """Sections by their offset from the wanted one.

    Args:
        images: [y, x] each, normalised.
        empty: [y, x] where each shows what others have; None where nowhere.
    """

    images: Mapping[int, Float]
    empty: Mapping[int, Mask | None]

    def gone(self, offsets: tuple[int, ...]) -> Mask | None:
        """Return where all of some sections are empty: [y, x]; None where nowhere."""
        return everywhere(self.empty[o] for o in offsets)

    def touched(self, offsets: tuple[int, ...]) -> Mask | None:
        """Return where any of some sections is empty: [y, x]; None where nowhere."""
        out: Mask | None = None
        for mask in (self.empty[o] for o in offsets):
            if mask is not None:
                out = mask if out is None else out | mask
        return out


@dataclass(frozen=True)
class Tissue:
    """Reads windows of sections.

    Args:
        volume: [z, y, x].
        norm: statistics of a section.
    """

    volume: Volume
    norm: Callable[[int], Normalisation]

    @property
    def emptiness(self) -> Emptiness:
        """Where the volume is empty."""
        return Emptiness(self.volume)

    def seen(self, known: Mapping[int, int], window: Window) -> Seen:
        """Read a window of the sections that serve, by their offsets from the wanted one.

        Args:
            known: sections of the volume by their offset.
            window: rows and columns.
        """
        found = self._read(known, window)
        if all(mask is None for mask in found.empty.values()):
            return found
        around, inner = _around(window, self.volume.shape[1:])
        wide = self._read(known, around)
        images = served(wide.images, wide.empty, lambda o: _others(o, tuple(known)))
        return Seen({o: image[inner] for o, image in images.items()}, found.empty)

    def _read(self, known: Mapping[int, int], window: Window) -> Seen:
        pixels = {o: self.volume.section(z, *window) for o, z in known.items()}
        empty = {o: self.emptiness.section(known[o], *window, pixels=p) for o, p in pixels.items()}
        return Seen({o: self.norm(known[o]).forward(p) for o, p in pixels.items()}, empty)


def _others(offset: int, offsets: tuple[int, ...]) -> list[int]:
    """Return the other offsets, the nearest to the wanted section first, those of the far side before one's own."""
    return sorted((o for o in offsets if o != offset), key=lambda o: (abs(o), (o < 0) == (offset < 0)))


def _around(window: Window, shape: tuple[int, ...]) -> tuple[Window, Window]:
    """Return a window with :data:`FRINGE` px around it, as far as there are any, and where it lies in that."""
    y, x = (slice(max(0, s.start - FRINGE), min(n, s.stop + FRINGE)) for s, n in zip(window, shape, strict=True))
    inner = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(window, (y, x), strict=True))
    return (y, x), (inner[0], inner[1])
