"""Which voxels of a volume nobody acquired: asked by every task, decided nowhere else.

A voxel is *empty* where it is not a finite number, where it lies in a margin (:mod:`napari_emsynth.trust.margins`), or
where what is known of the volume says so. Margins are judged on whole sections, once, and remembered with the volume: a
block never sees another border than the volume does. A section is *missing* where what is known of the volume leaves
nothing of it.

Laws: what is empty in a box does not depend on the box, nor on whether the volume is lazy or in memory; of a volume
without margins only the outermost lines of a section are looked at; memory holds packed masks, none of sections that
have no margin.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from napari_emsynth.chain import like
from napari_emsynth.trust.margins import Mask, margin_of, may_have_margin
from napari_emsynth.trust.remembered import memory, prints
from napari_emsynth.volume import Array, Known, Volume

# A section of which no more than this share was acquired is missing.
NOTHING_LEFT = 1e-3
# Sections whose outermost lines are read together.
TOGETHER = 32
EVERYWHERE = slice(None)


@runtime_checkable
class Aware(Protocol):
    """[z, y, x] voxels that know themselves where they are empty, as repaired sections do."""

    def empty_in(self, z: int, y: slice, x: slice) -> Mask | None:
        """Return where a window of a section is empty: [y, x]; None where nothing is."""


class Emptiness:
    """[z, y, x] uint8, 1 where a volume is empty: an array that is worked out as it is read.

    Args:
        volume: whose voxels are looked at.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, volume: Volume) -> None:
        self.volume, self.shape = volume, volume.shape

    @property
    def given(self) -> Any:
        """What is known of the volume says of it; None where it says nothing."""
        return None if self.volume.known is None else self.volume.known.empty

    def __getitem__(self, key: Any) -> Array:
        picked = [slice(k, k + 1) if isinstance(k, int | np.integer) else k for k in _triple(key)]
        z, y, x = (slice(*s.indices(n)) for s, n in zip(picked, self.shape, strict=True))
        out = np.zeros([len(range(*s.indices(n))) for s, n in zip((z, y, x), self.shape, strict=True)], np.uint8)
        for i, section in enumerate(range(self.shape[0])[z]):
            found = self.section(section, y, x)
            if found is not None:
                out[i] = found
        return np.asarray(out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in _triple(key))])

    def section(self, z: int, y: slice = EVERYWHERE, x: slice = EVERYWHERE, pixels: Array | None = None) -> Mask | None:
        """Return where a window of a section is empty: [y, x]; None where nothing is.

        Args:
            z: section.
            y: rows.
            x: columns.
            pixels: [y, x] of the window, where they are at hand.
        """
        if isinstance(self.volume.data, Aware):
            return self.volume.data.empty_in(z, y, x)
        whole = pixels if pixels is not None and pixels.shape == self.shape[1:] else None
        margin = self._margin(z, whole)
        parts = [None if margin is None else margin[y, x], self._stated(z, y, x)]
        if self.volume.dtype.kind == "f":
            shown = self.volume.section(z, y, x) if pixels is None else pixels
            parts.append(~np.isfinite(shown))
        return _union(parts)

    def block(self, voxels: Array, z: slice, y: slice, x: slice) -> Mask | None:
        """Return where a box [z, y, x] is empty, of which the voxels are at hand; None where nothing is."""
        if voxels.shape[1:] != self.shape[1:]:
            self._look_at(range(z.start, z.stop))
        found = [self.section(k, y, x, pixels) for k, pixels in zip(range(z.start, z.stop), voxels, strict=True)]
        return stacked(found, voxels.shape[1:])

    def share(self, z: int, y: slice = EVERYWHERE, x: slice = EVERYWHERE, pixels: Array | None = None) -> float:
        """Return which share of a window of a section is empty, 0 to 1; arguments as of :meth:`section`."""
        found = self.section(z, y, x, pixels)
        return 0.0 if found is None else float(found.mean())

    def missing(self, z: int) -> bool:
        """Return whether what is known of the volume leaves nothing of a section."""
        stated = self._stated(z, EVERYWHERE, EVERYWHERE)
        return stated is not None and 1 - stated.mean() <= NOTHING_LEFT

    def anywhere(self, sections: Iterable[int]) -> bool:
        """Return whether any pixel of some sections is empty; remembered, as whole sections may be read for it."""
        for run in _runs(sorted(sections)):
            if self.volume.dtype.kind != "f":
                self._look_at(run)
            if any(self._whole_share(z) > 0 for z in run):
                return True
        return False

    def _whole_share(self, z: int) -> float:
        if self.volume.dtype.kind != "f":
            return self.share(z)
        known, seen = memory(self.volume, "empty"), tuple(prints(self.volume, range(z, z + 1)).values())
        share: float | None = known.get(z, seen)
        if share is None:
            share = self.share(z, pixels=self.volume.section(z))
            known.put(z, seen, share)
        return share

    def _stated(self, z: int, y: slice, x: slice) -> Mask | None:
        if self.given is None:
            return None
        stated = np.asarray(Volume.of(self.given).section(z, y, x) != 0)
        return stated if stated.any() else None

    def _margin(self, z: int, pixels: Array | None) -> Mask | None:
        """Return where a whole section is margin, remembered; ``pixels`` are all of it."""
        known, seen = memory(self.volume, "margin"), tuple(prints(self.volume, range(z, z + 1)).values())
        packed: bytes | None = known.get(z, seen)
        if packed is None and pixels is not None:
            packed = _packed(margin_of(pixels))
            known.put(z, seen, packed)
        elif packed is None:
            packed = self._look_at([z])[z]
        return _unpacked(packed, self.shape[1:]) if packed else None

    def _look_at(self, sections: Sequence[int]) -> dict[int, bytes]:
        """Judge those of some sections that were not judged yet, and return them packed.

        The outermost lines of all are read together: a chunk of a lazy volume that holds many is read once.
        """
        if isinstance(self.volume.data, Aware):
            return {}
        known = memory(self.volume, "margin")
        seen = {z: tuple(prints(self.volume, range(z, z + 1)).values()) for z in sections}
        unknown = [z for z in sections if known.get(z, seen[z]) is None]
        found = {}
        for run in _runs(unknown):
            for z, frame in zip(run, _frames(self.volume, run), strict=True):
                found[z] = _packed(margin_of(self.volume.section(z)) if may_have_margin(frame) else None)
                known.put(z, seen[z], found[z])
        return found


def _runs(sections: Sequence[int]) -> list[range]:
    """Return runs of adjoining sections, in order, of no more than :data:`TOGETHER` each."""
    runs: list[range] = []
    for z in sections:
        if runs and z == runs[-1].stop and len(runs[-1]) < TOGETHER:
            runs[-1] = range(runs[-1].start, z + 1)
        else:
            runs.append(range(z, z + 1))
    return runs


def _frames(volume: Volume, run: range) -> list[tuple[Array, ...]]:
    """Return the outermost lines of sections, read together where they share their making."""
    z, last = slice(run.start, run.stop), [n - 1 for n in volume.shape]
    boxes = [(slice(at, at + 1), EVERYWHERE) for at in (0, last[1])]
    boxes += [(EVERYWHERE, slice(at, at + 1)) for at in (0, last[2])]
    if hasattr(volume.data, "dask"):
        import dask

        sides = dask.compute(*(volume.data[(z, *box)] for box in boxes), scheduler="synchronous")
    else:
        sides = tuple(volume.read(z, *box) for box in boxes)
    return [tuple(np.asarray(side[k]).ravel() for side in sides) for k in range(len(run))]


def _packed(mask: Mask | None) -> bytes:
    return b"" if mask is None else zlib.compress(np.packbits(mask).tobytes(), 1)


@lru_cache(maxsize=16)
def _unpacked(packed: bytes, shape: tuple[int, int]) -> Mask:
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    mask = np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)
    mask.flags.writeable = False
    return mask


def _triple(key: Any) -> tuple[Any, Any, Any]:
    """Return what an index says of sections, rows and columns."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [EVERYWHERE] * (4 - len(parts))
    parts += [EVERYWHERE] * (3 - len(parts))
    return parts[0], parts[1], parts[2]


def _union(parts: Sequence[Mask | None]) -> Mask | None:
    """Return the union of masks of one shape; None where none is set."""
    out: Mask | None = None
    for part in parts:
        if part is not None and part.any():
            out = part if out is None else out | part
    return out


def stated(volume: Volume, matter: Iterable[int]) -> Volume:
    """Return a volume that is known to be empty where it is, lazy where it is; as it is where that is nowhere.

    Args:
        volume: [z, y, x].
        matter: the sections that decide whether anything is empty.
    """
    found = Emptiness(volume)
    if found.given is None and not found.anywhere(matter):
        return volume
    return replace(volume, known=replace(volume.known or Known(), empty=like(found, volume.data)))


def shown(volume: Volume, z: int, y: slice = EVERYWHERE, x: slice = EVERYWHERE) -> Array:
    """Return a window of a section [y, x]; as floats, NaN where it is empty, where some of it is."""
    pixels = volume.section(z, y, x)
    empty = Emptiness(volume).section(z, y, x, pixels)
    return pixels if empty is None else np.where(empty, np.float32(np.nan), pixels.astype(np.float32))


def inside(volume: Volume, sections: Iterable[int]) -> tuple[slice, slice]:
    """Return rows and columns in which sections show tissue throughout, as many as there are; all where none has.

    Args:
        volume: [z, y, x].
        sections: of which what one lacks, all lack.
    """
    lacking: Mask | None = None
    for z in sections:
        empty = Emptiness(volume).section(z)
        if empty is not None:
            lacking = empty if lacking is None else lacking | empty
    whole = slice(0, volume.shape[1]), slice(0, volume.shape[2])
    return whole if lacking is None else _trimmed(lacking) or whole


def _trimmed(lacking: Mask) -> tuple[slice, slice] | None:
    """Take lines off the side that lacks most, until nothing is lacking; None where nothing is left."""
    sums = np.pad(lacking.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))

    def lost(y: slice, x: slice) -> int:
        return int(sums[y.stop, x.stop] - sums[y.start, x.stop] - sums[y.stop, x.start] + sums[y.start, x.start])

    y, x = (slice(0, n) for n in lacking.shape)
    while y.start < y.stop and x.start < x.stop:
        if not lost(y, x):
            return y, x
        sides = {
            "top": lost(slice(y.start, y.start + 1), x) / (x.stop - x.start),
            "bottom": lost(slice(y.stop - 1, y.stop), x) / (x.stop - x.start),
            "left": lost(y, slice(x.start, x.start + 1)) / (y.stop - y.start),
            "right": lost(y, slice(x.stop - 1, x.stop)) / (y.stop - y.start),
        }
        worst = max(sides, key=lambda side: sides[side])
        y = slice(y.start + (worst == "top"), y.stop - (worst == "bottom"))
        x = slice(x.start + (worst == "left"), x.stop - (worst == "right"))
    return None


def stacked(masks: Sequence[Mask | None], shape: tuple[int, ...]) -> Mask | None:
    """Return masks of one shape [y, x] as one [z, y, x]; None where none sets anything."""
    if all(mask is None for mask in masks):
        return None
    return np.stack([np.zeros(shape, bool) if mask is None else mask for mask in masks])
