"""What was measured of a volume's sections, remembered as long as the volume lives.

Laws: nothing here keeps a volume alive; several threads may ask at once; two views of the same pixels of an array share
what is known, where the same is known to be empty. An array in memory that was written to since is noticed by a grid of
pixels of every section (:func:`prints`): an edit that leaves all of them as they were goes unnoticed, and is too small
to matter. A lazy volume is taken to be what it was.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, TypeVar
from uuid import uuid4

import numpy as np

from napari_emsynth.volume import Array, Volume

T = TypeVar("T")

GRID_PX = 32
"""Pixels along each edge of a section whose values tell that it was written to."""

REMEMBERED = 16
"""Answers about a whole volume that are remembered, each for one key."""

Prints = tuple[bytes, ...]


class ByIdentity(Generic[T]):
    """Values by object, whatever the objects think of equality; an object that is gone takes its value along."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[Any], T]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, of: Any) -> T | None:
        """Return the value of an object; None when there is none."""
        held = self._held.get(id(of))
        return held[1] if held is not None and held[0]() is of else None

    def put(self, of: Any, value: T) -> T:
        """Remember a value, unless another thread was faster, and return the one that is remembered.

        An object that cannot be referred to weakly is forgotten at once.
        """
        key, held = id(of), self._held
        try:
            # Called before the memory of the object can serve another one, so that no id is taken for another.
            reference = weakref.ref(of, lambda _: held.pop(key, None))
        except TypeError:
            return value
        kept = held.setdefault(key, (reference, value))
        return kept[1] if kept[0]() is of else value


@dataclass
class Memory(Generic[T]):
    """What was measured of the sections of one view of an array.

    Args:
        most: values that are remembered; of more, the one that was put first is forgotten.
        held: by section (and whatever else was asked), with the prints of what it was measured on.
    """

    most: int = 1 << 20
    held: dict[Hashable, tuple[Prints, T]] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock, repr=False)

    def get(self, key: Hashable, seen: Prints) -> T | None:
        """Return what is known of a section; None when nothing is, or when it was measured on something else."""
        found = self.held.get(key)
        return found[1] if found is not None and found[0] == seen else None

    def put(self, key: Hashable, seen: Prints, value: T) -> None:
        """Remember what was measured of a section."""
        with self._lock:
            self.held.pop(key, None)
            self.held[key] = (seen, value)
            while len(self.held) > self.most:
                del self.held[next(iter(self.held))]


_MEMORIES: ByIdentity[dict[Hashable, Memory[Any]]] = ByIdentity()
_MASKS: ByIdentity[str] = ByIdentity()
_SHOWN: ByIdentity[tuple[weakref.ref[Any], dict[int, bytes]]] = ByIdentity()


def shows(lazy: Any, source: Volume) -> None:
    """Say that a lazy array shows, voxel by voxel, what a volume in memory holds now.

    What is known of one is then known of the other; until the volume is written to.
    """
    _SHOWN.put(lazy, (weakref.ref(source.data), prints(source, range(source.shape[0]))))


def memory(volume: Volume, what: str, most: int = 1 << 20) -> Memory[Any]:
    """Return what is remembered of a volume, to be read and added to.

    Args:
        volume: [z, y, x].
        what: was measured; nothing else shares its memory.
        most: values that are remembered.
    """
    known = _SHOWN.get(volume.data)
    source = None if known is None else known[0]()
    data = volume.data if source is None else source
    owner, view = data, tuple[Any, ...]()
    if isinstance(data, np.ndarray):
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        view = (data.__array_interface__["data"][0], data.shape, data.strides, data.dtype.str)
    views = _MEMORIES.get(owner)
    if views is None:
        views = _MEMORIES.put(owner, {})
    return views.setdefault((view, what, _stated(volume)), Memory(most))


def _stated(volume: Volume) -> str:
    """Return what stands for the mask that says where a volume is empty; "" where there is none."""
    mask = None if volume.known is None else volume.known.empty
    if mask is None:
        return ""
    return _MASKS.get(mask) or _MASKS.put(mask, uuid4().hex)


def of_the_whole(volume: Volume, what: str, key: Hashable, measure: Callable[[], T]) -> T:
    """Return what was measured of a whole volume before, or measure it now; always now where sections are synthetic,
    which the pixels do not tell.

    Args:
        volume: [z, y, x].
        what: is measured; nothing else shares its memory.
        key: what the answer depends on besides the volume.
        measure: called where nothing is known, or where the volume was written to since.
    """
    if volume.known is not None and volume.known.synthetic is not None:
        return measure()
    seen = (b"".join(prints(volume, range(volume.shape[0])).values()),)
    known = memory(volume, what, REMEMBERED)
    found: T | None = known.get(key, seen)
    if found is None:
        found = measure()
        known.put(key, seen, found)
    return found


def prints(volume: Volume, sections: range) -> dict[int, bytes]:
    """Return what tells of each section whether it was written to since; the same for all of a lazy volume.

    Args:
        volume: [z, y, x].
        sections: of it.
    """
    data, known = volume.data, _SHOWN.get(volume.data)
    if known is not None:
        return {z: known[1][z] for z in sections}
    if not isinstance(data, np.ndarray):
        return dict.fromkeys(sections, b"")
    steps = [max(1, n // GRID_PX) for n in data.shape[1:]]
    grids: Array = data[sections.start : sections.stop, steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]
    return {
        z: hashlib.blake2b(np.ascontiguousarray(grid).data, digest_size=8).digest()
        for z, grid in zip(sections, grids, strict=True)
    }
