"""Plain numbers in a file: rows one after the other, sections one after the other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.io.stored import Window
from napari_emsynth.volume import Array


@dataclass(frozen=True)
class Raw:
    """The :class:`napari_emsynth.io.stored.Source` of plain numbers.

    Args:
        path: of the file.
        offset: of the first byte.
        shape: sections, ..., rows, columns.
        dtype: as stored, byte order included.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def chunks(self) -> tuple[int, ...]:
        """One section is read at a time."""
        return (1, *self.shape[1:])

    def read(self, box: Window) -> Array:
        """Return a box; whole rows are read, and no more."""
        *lead, y, x = box
        height, width = self.shape[-2:]
        out = np.empty([part.stop - part.start for part in box], self.dtype)
        with Path(self.path).open("rb") as file:
            for place in itertools.product(*(range(part.start, part.stop) for part in lead)):
                plane = int(np.ravel_multi_index(place, self.shape[:-2]))
                file.seek(self.offset + (plane * height + y.start) * width * self.dtype.itemsize)
                window = out[tuple(at - part.start for at, part in zip(place, lead, strict=True))]
                rows = np.frombuffer(file.read(len(window) * width * self.dtype.itemsize), self.dtype)
                window[:] = rows.reshape(len(window), width)[:, x]
        return out
