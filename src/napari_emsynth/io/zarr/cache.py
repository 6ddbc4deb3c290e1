"""Decoded chunks that were used last: one of 16 sections is not read 16 times when sections are asked for one by one.

Laws: what it holds is bounded for the whole process, however many arrays are read; a chunk is what it was when it was
first read, until it is dropped; threads may share it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from itertools import count

from napari_emsynth.volume import Array

# Three rows of chunks over sections of 2048 x 2048 px, 16 deep and of one byte.
CAPACITY_BYTES = 1 << 28
_SERIALS = count()

Place = tuple[int, ...]


class ChunkCache:
    """The chunks that were used last, of every array of the process.

    Args:
        capacity: bytes of all of them together.
    """

    def __init__(self, capacity: int = CAPACITY_BYTES) -> None:
        self.capacity = capacity
        self.held = 0
        self._chunks: OrderedDict[tuple[Hashable, Place], Array] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def newcomer() -> int:
        """Return what tells an array from every other of this process."""
        return next(_SERIALS)

    def get(self, owner: Hashable, places: Sequence[Place]) -> dict[Place, Array] | None:
        """Return chunks of an array by place; None unless all are here."""
        with self._lock:
            keys = [(owner, place) for place in places]
            if not all(key in self._chunks for key in keys):
                return None
            for key in keys:
                self._chunks.move_to_end(key)
            return {place: self._chunks[owner, place] for place in places}

    def put(self, owner: Hashable, place: Place, chunk: Array) -> None:
        """Keep a chunk, and let those go that were not used for longest."""
        with self._lock:
            before = self._chunks.pop((owner, place), None)
            self.held += chunk.nbytes - (0 if before is None else before.nbytes)
            self._chunks[owner, place] = chunk
            while self.held > self.capacity:
                _, gone = self._chunks.popitem(last=False)
                self.held -= gone.nbytes

    def forget(self, owner: Hashable) -> None:
        """Let all chunks of an array go."""
        with self._lock:
            for key in [key for key in self._chunks if key[0] == owner]:
                self.held -= self._chunks.pop(key).nbytes


CHUNKS = ChunkCache()
"""Of this process."""
