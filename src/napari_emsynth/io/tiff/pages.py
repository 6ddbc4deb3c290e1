"""Sections of a TIFF that cannot be memory-mapped (compressed, tiled, scattered), decoded as they are read.

Laws: only the strips and tiles a window touches are decoded; the object travels to other processes as a path.
"""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_emsynth.grid import Shape
from napari_emsynth.volume import Array


class Pages:
    """An array-like [z, y, x] over the pages of a TIFF; indexed with three slices.

    Args:
        path: the file.
        series: index of the image series whose pages are the sections; None takes every page of the file.
        shape: sections, rows, columns.
        dtype: voxel type, native byte order.
    """

    ndim = 3

    def __init__(self, path: Path, series: int | None, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.path, self.series, self.shape = path, series, shape
        self.dtype = dtype.newbyteorder("=")
        self._lock = threading.Lock()
        self._pages: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Pages, (self.path, self.series, self.shape, self.dtype))

    def __getitem__(self, key: tuple[int | slice, ...]) -> Array:
        whole = [slice(k, k + 1) if isinstance(k, int) else k for k in key]
        z, y, x = (range(n)[k] for n, k in zip(self.shape, whole, strict=True))
        out = np.empty((len(z), len(y), len(x)), self.dtype)
        if out.size:
            for i, section in enumerate(z):
                # The window that holds every asked row and column, then the steps (which may be negative).
                top, left = min(y), min(x)
                window = self._window(section, top, max(y) + 1, left, max(x) + 1)
                out[i] = window[np.ix_([r - top for r in y], [c - left for c in x])]
        dropped: Array = out[tuple(0 if isinstance(k, int) else slice(None) for k in key)]
        return dropped

    def _open(self) -> Any:
        with self._lock:
            if self._pages is None:
                tif = tifffile.TiffFile(self.path)
                weakref.finalize(self, tif.close)
                self._pages = tif.pages if self.series is None else tif.series[self.series].pages
        return self._pages

    def _window(self, section: int, top: int, bottom: int, left: int, right: int) -> Array:
        """Return rows top to bottom and columns left to right of one page."""
        page = self._open()[section]
        if page is None:  # a page the file names and does not hold
            return np.zeros((bottom - top, right - left), self.dtype)
        frame = page.keyframe
        rows, columns = frame.tile if frame.is_tiled else (frame.rowsperstrip, frame.imagewidth)
        across = -(-frame.imagewidth // columns)
        out = np.full((bottom - top, right - left), frame.nodata, self.dtype)
        for row in range(top // rows, (bottom - 1) // rows + 1):
            for column in range(left // columns, (right - 1) // columns + 1):
                segment, place, shape = self._decode(page, row * across + column)
                if segment is None:  # a sparse file's empty tile
                    continue
                y, x, (height, width) = place[2], place[3], shape[1:3]
                y0, y1, x0, x1 = max(y, top), min(y + height, bottom), max(x, left), min(x + width, right)
                out[y0 - top : y1 - top, x0 - left : x1 - left] = segment[0, y0 - y : y1 - y, x0 - x : x1 - x, 0]
        return out

    def _decode(self, page: Any, index: int) -> Any:
        """Return a strip or tile [depth, y, x, sample], its place and its shape."""
        data = None
        if page.databytecounts[index]:
            with self._lock:  # one file position for all threads; decoding runs in parallel
                file = page.parent.filehandle
                if file.closed:  # another file of a multi-file OME-TIFF
                    file.open()
                file.seek(page.dataoffsets[index])
                data = file.read(page.databytecounts[index])
        return page.keyframe.decode(data, index, jpegtables=page.jpegtables)
