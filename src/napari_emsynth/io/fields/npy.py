"""Fields in ``.npy``: float32 [z, 2, y, x], (dy, dx) px, a vector to every pixel, and nothing said of the volume."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import Format, Found, Head, check_shape
from napari_emsynth.io.fields.own_zarr import check_array
from napari_emsynth.io.raw import Raw
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.volume import Float


@dataclass(frozen=True)
class Planes:
    """A .npy to be filled: written to, not mapped, for the pages of a map count as memory until the end.

    Args:
        path: of the file.
        shape: of its four axes.
        header: bytes before the first value.
        component: planes from one component to the next.
        section: planes from one section to the next.
        order: which of dy, dx is which component.
    """

    path: Path
    shape: tuple[int, ...]
    header: int
    component: int
    section: int
    order: tuple[int, int] = (0, 1)

    @classmethod
    def begun(
        cls, path: Path, shape: tuple[int, ...], *, component: int, section: int, order: tuple[int, int] = (0, 1)
    ) -> Planes:
        """Write the header, and leave room for the values."""
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            header = file.tell()
            file.truncate(header + 4 * math.prod(shape))
        return cls(path, shape, header, component, section, order)

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section."""
        *_, height, width = self.shape
        with self.path.open("r+b") as file:
            for c, own in enumerate(self.order):
                plane = z * self.section + c * self.component
                file.seek(self.header + 4 * width * (plane * height + rows.start))
                file.write(np.ascontiguousarray(strip[own], "<f4").tobytes())

    def close(self) -> None:
        """All is written."""


def _begin(work: Work, head: Head) -> Planes:
    return Planes.begun(work.data, (head.sections, 2, *head.nodes), component=1, section=2)


def _read(path: Path) -> Found:
    with opening(path, ".npy"):
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        check_array(mapped)
        if not mapped.flags.c_contiguous:
            raise InputError("its axes are in Fortran's order, needs C order: z, 2 (dy, dx), y, x")
        data = Stored(path, Raw(str(path.resolve()), mapped.offset, mapped.shape, mapped.dtype), [path])
        return Found(data=data, shape=check_shape((data.shape[0], *data.shape[2:])))


NPY = Format(
    suffix=".npy", about="plain numbers, dy and dx in px", read=_read, begin=_begin, takes=lambda voxels: 8 * voxels
)
