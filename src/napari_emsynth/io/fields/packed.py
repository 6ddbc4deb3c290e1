"""Plain numbers in one compressed stream: read from its start, forwards.

Conventions: the plane that was read last is kept, where it is not too large, for the next part of it. Whoever asks for
planes in order reads the stream once; whoever goes back begins anew.
"""

from __future__ import annotations

import itertools
import math
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.stored import Window
from napari_emsynth.volume import Array

# Bytes taken from the file, or thrown away, at once.
PIECE = 1 << 20
# A larger plane is not kept.
KEPT_BYTES = 1 << 28
# No stream of zlib holds more bytes to one of its own.
LARGEST_RATIO = 1032
ZLIB_OR_GZIP, PLAIN = 47, -15


class Cursor:
    """A place in a stream.

    Args:
        path: of the file.
        offset: of the stream's first byte.
        length: of the stream in bytes.
        window: what zlib is told of it: :data:`ZLIB_OR_GZIP` or :data:`PLAIN` (a zip's).
    """

    def __init__(self, path: str, offset: int, length: int, window: int) -> None:
        self._asked = (path, offset, length, window)
        self._rewind()

    def read(self, at: int, count: int) -> bytes:
        """Return bytes of what the stream holds.

        Raises:
            InputError: it ends before.
            zlib.error: it is damaged.
        """
        if at < self._at:
            self._rewind()
        while self._at < at:
            self._take(min(PIECE, at - self._at))
        return self._take(count)

    def _rewind(self) -> None:
        path, offset, length, window = self._asked
        self._at, self._from, self._end = 0, offset, offset + length
        self._zlib, self._path = zlib.decompressobj(window), path

    def _take(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            given = self._zlib.unconsumed_tail or self._more()
            if self._zlib.eof or not given:
                raise InputError(f"its compressed data end after {self._at + len(found)} bytes")
            found += self._zlib.decompress(given, count - len(found))
        self._at += count
        return bytes(found)

    def _more(self) -> bytes:
        with Path(self._path).open("rb") as file:
            file.seek(self._from)
            found = file.read(min(PIECE, self._end - self._from))
        self._from += len(found)
        return found


class Packed:
    """The :class:`napari_emsynth.io.stored.Source` of such numbers.

    Args:
        path: of the file.
        offset: of the stream's first byte.
        length: of the stream in bytes.
        window: see :class:`Cursor`.
        skip: bytes before the first number, once unpacked.
        shape: planes, rows, columns, or components, planes, rows, columns.
        dtype: as stored, byte order included.

    Raises:
        InputError: the stream is too short to hold so many numbers.
    """

    def __init__(
        self, path: str, offset: int, length: int, window: int, skip: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._asked = (path, offset, length, window, skip, shape, dtype)
        self._skip, self.shape, self.dtype = skip, shape, dtype
        if math.prod(shape) * dtype.itemsize > LARGEST_RATIO * length:
            raise InputError(f"{length} compressed bytes cannot hold {shape} numbers")
        # One to a component, for they lie far apart.
        count = math.prod(shape[:-3])
        self._cursors = [Cursor(path, offset, length, window) for _ in range(count)]
        self._kept: list[tuple[int, bytes]] = [(-1, b"")] * count
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._asked

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self._asked

    @property
    def chunks(self) -> tuple[int, ...]:
        """One plane is read at a time."""
        return (*(1 for _ in self.shape[:-2]), *self.shape[-2:])

    def read(self, box: Window) -> Array:
        """Return a box."""
        *lead, y, x = box
        out = np.empty([part.stop - part.start for part in box], self.dtype)
        for place in itertools.product(*(range(part.start, part.stop) for part in lead)):
            rows = np.frombuffer(self._rows(place, y), self.dtype).reshape(y.stop - y.start, self.shape[-1])
            out[tuple(at - part.start for at, part in zip(place, lead, strict=True))] = rows[:, x]
        return out

    def _rows(self, place: tuple[int, ...], y: slice) -> bytes:
        """Return whole rows of one plane."""
        height, width = self.shape[-2], self.shape[-1] * self.dtype.itemsize
        plane, which = int(np.ravel_multi_index(place, self.shape[:-2])), place[0] if len(place) > 1 else 0
        start = self._skip + plane * height * width
        with self._lock:
            if height * width > KEPT_BYTES:
                return self._cursors[which].read(start + y.start * width, (y.stop - y.start) * width)
            if self._kept[which][0] != plane:
                self._kept[which] = plane, self._cursors[which].read(start, height * width)
            return self._kept[which][1][y.start * width : y.stop * width]
