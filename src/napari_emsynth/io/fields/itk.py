"""Fields as ITK has them: an image of vectors in physical units, here nm, that take an output point to an input point.

Conventions: the components of a vector, and the numbers of a header, go x, y, z; the vectors lie beside one another,
sections last: [z, y, x, 3] float32. ``T(p) = p + v(p)`` at ``p = origin + index * spacing`` is what a resampler asks of
``sitk.DisplacementFieldTransform``, so ``v = (dx, dy, 0)`` times the voxel size. Where a file names no unit, its
lengths are nm.

Laws: an image that is turned or mirrored against its axes is refused, not read as if it lay straight; a voxel size that
no electron microscope has is unknown, and the vectors are still right, for they count in steps of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple
from napari_emsynth.io.fields.format import Found, Head, check_numbers, check_shape
from napari_emsynth.io.fields.packed import ZLIB_OR_GZIP, Packed
from napari_emsynth.io.fields.vectors import InPixels, Interleaved
from napari_emsynth.io.raw import Raw
from napari_emsynth.io.stored import Source, Stored
from napari_emsynth.io.units import number, plausible
from napari_emsynth.volume import Float

# Headers are text; what is longer is none.
HEADER_BYTES = 1 << 16
STRAIGHT = 1e-6
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class VectorImage:
    """What a header says.

    Args:
        size: voxels along x, y, z.
        spacing: of voxels along x, y, z.
        origin: centre of the first voxel, x, y, z.
        unit_nm: of both; None when unknown.
        direction: 9 numbers, the identity for an image that lies straight.
        dtype: of the components, byte order included.
        offset: of the data's first byte.
        packed: they are compressed.
    """

    size: tuple[int, int, int]
    spacing: Sequence[float]
    origin: Sequence[float]
    unit_nm: float | None
    direction: Sequence[float]
    dtype: np.dtype[Any]
    offset: int
    packed: bool


def found(path: Path, image: VectorImage) -> Found:
    """Return the field of an image of vectors.

    Raises:
        InputError: turned or mirrored, no numbers, spacing that is none, a file that is too short.
    """
    turned = max(abs(a - b) for a, b in zip(image.direction, IDENTITY, strict=True)) > STRAIGHT
    if turned:
        told = ", ".join(f"{n:g}" for n in image.direction)
        raise InputError(f"its direction matrix ({told}) is not the identity; resample it along x, y, z")
    if min(image.spacing) <= 0:
        raise InputError(f"its spacing {', '.join(f'{n:g}' for n in image.spacing)} is not above 0")
    check_numbers(image.dtype)
    z, y, x = shape = check_shape(image.size[::-1])
    steps = (float(image.spacing[2]), float(image.spacing[1]), float(image.spacing[0]))
    vectors = InPixels(Interleaved(_numbers(path, image, (z, y, 3 * x)), 3), (2, 1, 0), steps)
    unit = image.unit_nm
    voxel_nm = None if unit is None else plausible([unit * s for s in steps])
    at_x, at_y, at_z = (0.0 if voxel_nm is None or unit is None else unit * o for o in image.origin)
    return Found(data=Stored(path, vectors, [path]), shape=shape, voxel_nm=voxel_nm, origin_nm=(at_z, at_y, at_x))


def _numbers(path: Path, image: VectorImage, shape: tuple[int, int, int]) -> Source:
    length, name = path.stat().st_size - image.offset, str(path.resolve())
    if image.packed:
        return Packed(name, image.offset, length, ZLIB_OR_GZIP, 0, shape, image.dtype)
    needed = math.prod(shape) * image.dtype.itemsize
    if length < needed:
        raise InputError(f"it is cut short: {needed} bytes of vectors, {max(length, 0)} are there")
    return Raw(name, image.offset, shape, image.dtype)


def numbers(text: str, count: int) -> list[float]:
    """Return so many finite numbers of a header, parted by blanks, commas or brackets.

    Raises:
        ValueError: other ones.
    """
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    values = [n for word in words if (n := number(word)) is not None]
    if len(words) != count or len(values) != count:
        raise ValueError(f"{text[:60]!r} is not {count} numbers")
    return values


def type_of(types: Mapping[str, str], name: str, *, big: bool) -> np.dtype[Any]:
    """Return the type that a header names, byte order included.

    Raises:
        InputError: it is none of ``types``.
    """
    if name not in types:
        raise InputError(f"type {name[:30]}, needs {' or '.join(list(types)[:2])}, or whole numbers")
    return np.dtype((">" if big else "<") + types[name])


@dataclass(frozen=True)
class Filled:
    """A file whose vectors are written, rows of them at once.

    Args:
        path: of the file.
        header: bytes before the first vector.
        size: rows, columns.
        voxel_nm: (z, y, x).
    """

    path: Path
    header: int
    size: tuple[int, int]
    voxel_nm: Triple

    @classmethod
    def begun(cls, path: Path, header: str, head: Head) -> Filled:
        """Write the header."""
        start = header.encode("ascii")
        path.write_bytes(start)
        return cls(path, len(start), head.nodes, head.voxel_nm)

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section."""
        height, width = self.size
        vectors = np.zeros((*strip.shape[1:], 3), "<f4")
        vectors[..., 0], vectors[..., 1] = strip[1] * self.voxel_nm[2], strip[0] * self.voxel_nm[1]
        with self.path.open("r+b") as file:
            file.seek(self.header + 12 * width * (z * height + rows.start))
            file.write(vectors.tobytes())

    def close(self) -> None:
        """All is written."""


def as_text(triple: Triple) -> list[str]:
    """Return z, y, x as a header has them: x, y, z."""
    return [repr(float(n)) for n in reversed(triple)]
