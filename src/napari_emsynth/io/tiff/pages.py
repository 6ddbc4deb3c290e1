"""Sections of a TIFF, decoded as they are read, each by the tags of its own page.

Conventions: a :class:`Plane` is one section: a page, or a part of the plain bytes that one page heads.

Laws: only the strips and tiles that a window touches are decoded; the object travels to other processes as a path and
what was chosen of the file; a plane that the file names and does not hold reads as 0, and so do its missing tiles:
:class:`Absent` says where.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.grid import Shape
from napari_emsynth.io.stored import Window
from napari_emsynth.volume import Array


@dataclass(frozen=True, eq=False)
class Plane:
    """One section.

    Args:
        page: that says how it is stored; None of a section that the file does not hold.
        offset: of its first byte, where its rows lie in the file one after the other as plain numbers; else None.
        sample: of a page with several colours, the one that is read.
        meaning: turns stored numbers into intensities, see :mod:`napari_emsynth.io.tiff.meaning`; None keeps them.
    """

    page: Any
    offset: int | None = None
    sample: int = 0
    meaning: Callable[[Array], Array] | None = None


Planned = tuple[Any, Sequence[Plane]]
"""An open file, and its planes."""


class Pages:
    """The :class:`napari_emsynth.io.stored.Source` of a TIFF.

    Args:
        path: the file.
        shape: sections, rows, columns.
        dtype: voxel type, as read.
        plan: called with the path, opens the file and returns what must be closed, and the planes; must be picklable.
        planned: what it returned already, where it did.
    """

    def __init__(
        self,
        path: Path,
        shape: Shape,
        dtype: np.dtype[Any],
        plan: Callable[[Path], Planned],
        planned: Planned | None = None,
    ) -> None:
        self.path, self.shape, self.dtype, self._plan = path, shape, np.dtype(dtype), plan
        self.chunks = (1, *shape[1:])
        self._lock = threading.Lock()
        self._planes: Sequence[Plane] | None = None
        if planned is not None:
            self._keep(planned)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.path, self.shape, self.dtype, self._plan))

    def read(self, box: Window) -> Array:
        """Return a box [z, y, x]."""
        z, y, x = box
        planes = self._open()
        out = np.zeros((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.dtype)
        for section, window in zip(range(z.start, z.stop), out, strict=True):
            self._show(window, planes[section], y.start, x.start)
        return out

    def _open(self) -> Sequence[Plane]:
        with self._lock:
            if self._planes is None:
                self._keep(self._plan(self.path))
        assert self._planes is not None
        return self._planes

    def _keep(self, planned: Planned) -> None:
        file, self._planes = planned
        weakref.finalize(self, file.close)

    def _show(self, out: Array, plane: Plane, top: int, left: int) -> None:
        """Fill a window [y, x] of zeros whose first pixel is (top, left) of the plane."""
        if plane.page is None:
            return
        if plane.offset is not None:
            found = self._rows(plane, top, top + out.shape[0])[:, left : left + out.shape[1]]
            out[...] = found if plane.meaning is None else plane.meaning(found)
            return
        for index, y, x, inside in _segments(plane.page, plane.sample, top, left, out.shape):
            segment = self._decode(plane.page, index)
            if segment is None:  # a sparse file's missing tile
                continue
            (o, i), (p, j) = inside
            rows, columns = out.shape[0] - o, out.shape[1] - p
            pixels = segment[0, i : i + rows, j : j + columns, _column(plane)]
            if pixels.shape != (min(y - i, rows), min(x - j, columns)):
                raise ValueError(f"strip or tile {index} holds less than it should")
            out[o : o + pixels.shape[0], p : p + pixels.shape[1]] = (
                pixels if plane.meaning is None else plane.meaning(pixels)
            )

    def _rows(self, plane: Plane, top: int, bottom: int) -> Array:
        """Return whole rows [y, x] of a plane of plain numbers."""
        assert plane.offset is not None
        width, stored = self.shape[2], plane.page.dtype.newbyteorder(plane.page.parent.byteorder)
        step = width * stored.itemsize
        data = self._bytes(plane.page, plane.offset + top * step, (bottom - top) * step)
        return np.frombuffer(data, stored).reshape(bottom - top, width)

    def _decode(self, page: Any, index: int) -> Any:
        """Return a strip or tile [depth, y, x, sample], or None where the file holds nothing of it."""
        count = page.databytecounts[index]
        if not count:
            return None
        data = self._bytes(page, page.dataoffsets[index], count)
        return page.decode(data, index, jpegtables=page.jpegtables)[0]

    def _bytes(self, page: Any, offset: int, count: int) -> bytes:
        """Return bytes of the file; one position serves all threads, decoding runs in parallel."""
        with self._lock:
            file = page.parent.filehandle
            if file.closed:  # another file of a multi-file OME-TIFF
                file.open()
            file.seek(offset)
            data: bytes = file.read(count)
        if len(data) < count:
            raise ValueError(f"the file ends {count - len(data)} bytes too early")
        return data


class Absent(Pages):
    """Marks [z, y, x], uint8: 1 where a TIFF names a section, a strip or a tile and holds none."""

    def _show(self, out: Array, plane: Plane, top: int, left: int) -> None:
        """Mark what is absent of a window [y, x] of zeros whose first pixel is (top, left) of the plane."""
        if plane.page is None:
            out[:] = 1
        elif plane.offset is None:
            for index, height, width, ((o, i), (p, j)) in _segments(plane.page, plane.sample, top, left, out.shape):
                if not plane.page.databytecounts[index]:
                    out[o : o + height - i, p : p + width - j] = 1


def _column(plane: Plane) -> int:
    """Return which sample of a decoded segment is meant: planes of separate samples hold one each."""
    return plane.sample if plane.page.planarconfig == CONTIGUOUS else 0


CONTIGUOUS = 1


def _segments(page: Any, sample: int, top: int, left: int, window: tuple[int, ...]) -> list[tuple[int, int, int, Any]]:
    """Return the strips or tiles that a window touches.

    Returns:
        Index, height and width of each; and, along y and x, where its part of the window begins: in the window, and in
        the segment.
    """
    rows, columns = page.tile if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    rows = min(rows, page.imagelength) if not page.is_tiled else rows
    across, down = -(-page.imagewidth // columns), -(-page.imagelength // rows)
    first = 0 if page.planarconfig == CONTIGUOUS else sample * across * down
    found = []
    for row in range(top // rows, (top + window[0] - 1) // rows + 1):
        for column in range(left // columns, (left + window[1] - 1) // columns + 1):
            y, x = row * rows, column * columns
            inside = tuple((max(at - start, 0), max(start - at, 0)) for at, start in ((y, top), (x, left)))
            height, width = min(rows, page.imagelength - y), min(columns, page.imagewidth - x)
            found.append((first + row * across + column, height, width, inside))
    return found
