"""SOFIMA's relative coordinate maps in ``.sofima.npz``, as its ``warp_subvolume`` takes them: an inverse map, pull.

Conventions: ``map`` [2, z, y, x] holds (dx, dy) px of the full-size section at nodes ``(box start + index) * stride``,
linear in between, and beyond the outermost. ``stride`` is one number, or z, y, x with a z of 1; 1 where it is missing.
``box`` [2, 3] is start and size in nodes, in SOFIMA's order x, y, z; it starts at 0 where it is missing. ``shape`` is
that of the volume, z, y, x; it may be missing where every pixel has a node. ``voxel_nm`` and ``origin_nm``, z, y, x,
are ours. What we write has a node to every pixel.

Laws: NaN is SOFIMA's word for a vector that it does not know, and is refused, for something must be drawn there: fill
such maps before, with its ``map_utils.fill_missing``.
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape, check_voxel_nm
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import NO_ORIGIN, Format, Found, Head, check_numbers, check_shape
from napari_emsynth.io.fields.npy import Planes
from napari_emsynth.io.fields.packed import PLAIN, Packed
from napari_emsynth.io.fields.vectors import InPixels, Turned
from napari_emsynth.io.raw import Raw
from napari_emsynth.io.stored import Source, Stored, Window, opening
from napari_emsynth.volume import Array, Float

MAP = "map"
# Whatever is beside the map is a handful of numbers.
SMALL_BYTES = 4096
LOCAL_HEADER = 30


# ------------------------------------------------------------------------------------------ writing


@dataclass(frozen=True)
class _Npz:
    """An archive whose map is filled beside it, for it is stored component by component.

    Args:
        path: of the archive.
        planes: the map.
        beside: the other arrays.
    """

    path: Path
    planes: Planes
    beside: dict[str, Any]

    def put(self, z: int, rows: slice, strip: Float) -> None:
        """Write rows of one section."""
        self.planes.put(z, rows, strip)

    def close(self) -> None:
        """Put everything into the archive."""
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
            file.write(self.planes.path, f"{MAP}.npy")
            for name, values in self.beside.items():
                held = io.BytesIO()
                np.save(held, np.asarray(values), allow_pickle=False)
                file.writestr(f"{name}.npy", held.getvalue())
        self.planes.path.unlink()


def _begin(work: Work, head: Head) -> _Npz:
    z, y, x = head.field.shape
    planes = Planes.begun(work.folder / "map", (2, z, y, x), component=z, section=1, order=(1, 0))
    beside: dict[str, Any] = {"stride": (1.0, 1.0, 1.0), "box": ((0, 0, 0), (x, y, z)), "shape": (z, y, x)}
    if head.field.voxel_nm is not None:
        beside |= {"voxel_nm": head.field.voxel_nm, "origin_nm": head.origin_nm}
    return _Npz(work.data, planes, beside)


# ------------------------------------------------------------------------------------------ reading


def _read(path: Path) -> Found:
    with opening(path, ".sofima.npz"), zipfile.ZipFile(path) as file:
        vectors = InPixels(Turned(_map(path, file)), (None, 1, 0), (1.0, 1.0, 1.0))
        small = {name: _small(file, name) for name in ("stride", "box", "shape", "voxel_nm", "origin_nm")}
        nodes = vectors.shape[0], vectors.shape[2], vectors.shape[3]
        stride, start = _stride(small["stride"]), _start(small["box"], nodes)
        shape = _shape(small["shape"], nodes, stride, start)
        dense = (*stride, *start) == (1, 1, 0, 0) and shape == nodes
        at_z, at_y, at_x = NO_ORIGIN if small["origin_nm"] is None else _values("origin_nm", small["origin_nm"], (3,))
        return Found(
            data=Stored(path, vectors if dense else Strided(vectors, shape, stride, start), [path]),
            shape=shape,
            voxel_nm=check_voxel_nm(None if small["voxel_nm"] is None else small["voxel_nm"].tolist()),
            origin_nm=(at_z, at_y, at_x),
        )


def _map(path: Path, file: zipfile.ZipFile) -> Source:
    """Return the map [2, z, y, x] as it is stored.

    Raises:
        InputError: it is missing, cut short, or something else.
    """
    member = file.getinfo(f"{MAP}.npy")
    with file.open(member) as head:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(head)
        skip = head.tell()
    if len(shape) != 4 or shape[0] != 2 or fortran:
        raise InputError(f"{MAP} of shape {shape} in {'Fortran' if fortran else 'C'} order, needs 2 (dx, dy), z, y, x")
    check_shape(shape[1:])
    check_numbers(dtype)
    offset = _offset(path, member)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        return Packed(str(path.resolve()), offset, member.compress_size, PLAIN, skip, shape, dtype)
    needed = skip + math.prod(shape) * dtype.itemsize
    if member.compress_type != zipfile.ZIP_STORED or needed > min(member.file_size, path.stat().st_size - offset):
        raise InputError(f"{MAP} is cut short, or compressed as NumPy does not")
    return Raw(str(path.resolve()), offset + skip, shape, dtype)


def _offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Return where a member's own bytes begin: after a header whose last two numbers are lengths."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(LOCAL_HEADER)
    return member.header_offset + LOCAL_HEADER + sum(int.from_bytes(head[n : n + 2], "little") for n in (26, 28))


def _small(file: zipfile.ZipFile, name: str) -> Any:
    """Return a small array, None where it is missing."""
    try:
        member = file.getinfo(f"{name}.npy")
    except KeyError:
        return None
    if member.file_size > SMALL_BYTES:
        raise InputError(f"{name} of {member.file_size} bytes, needs a few numbers")
    return np.load(io.BytesIO(file.read(member)), allow_pickle=False)


def _values(name: str, array: Any, *shapes: tuple[int, ...]) -> list[float]:
    """Return the numbers of a small array.

    Raises:
        InputError: of another shape, or not finite numbers.
    """
    if array.shape not in shapes or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise InputError(f"{name} is {array.tolist()!r:.60}, needs {' or '.join(map(str, shapes))} finite numbers")
    return [float(n) for n in array.ravel()]


def _stride(array: Any) -> tuple[float, float]:
    """Return the px between nodes along y and x."""
    given = [1.0] if array is None else _values("stride", array, (), (1,), (2,), (3,))
    z, y, x = (1.0, *(given * 2)[:2]) if len(given) < 3 else given
    if min(y, x) < 1 or z != 1:
        raise InputError(f"stride {', '.join(f'{n:g}' for n in given)}, needs 1 px or more, and 1 along z")
    return y, x


def _start(array: Any, nodes: Shape) -> tuple[float, float]:
    """Return the first node along y and x, in nodes."""
    if array is None:
        return 0.0, 0.0
    x, y, z, *size = _values("box", array, (2, 3))
    if z != 0 or tuple(size[::-1]) != nodes:
        raise InputError(
            f"box {array.tolist()} (x, y, z), needs a start of 0 along z and the size of the map, {nodes[::-1]}"
        )
    return y, x


def _shape(array: Any, nodes: Shape, stride: tuple[float, float], start: tuple[float, float]) -> Shape:
    """Return the shape of the volume.

    Raises:
        InputError: it is not said, or has another number of sections.
    """
    if array is None:
        if (*stride, *start) != (1, 1, 0, 0):
            raise InputError("shape is missing: the volume's z, y, x, which a map of coarse nodes does not say")
        return nodes
    z, y, x = _values("shape", array, (3,))
    shape = check_shape((int(z), int(y), int(x)))
    if shape[0] != nodes[0]:
        raise InputError(f"a map of {nodes[0]} sections for a volume of {shape[0]}: they must be equal")
    return shape


@dataclass(frozen=True)
class Strided:
    """A vector to every pixel of [z, 2, y, x], out of nodes some px apart: linear, beyond the outermost too."""

    source: Source
    volume: Shape
    stride: tuple[float, float]
    start: tuple[float, float]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections, 2, rows, columns."""
        z, y, x = self.volume
        return z, 2, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is returned."""
        return self.source.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """One section is read at a time."""
        return (1, *self.shape[1:])

    def read(self, box: Window) -> Array:
        """Return a box."""
        z, c, *window = box
        lows, shares = zip(*(self._taps(axis, part) for axis, part in enumerate(window)), strict=True)
        spans = [slice(int(low.min()), int(low.max()) + 2) for low in lows]
        spans = [slice(s.start, min(s.stop, n)) for s, n in zip(spans, self.source.shape[2:], strict=True)]
        made = self.source.read((z, c, *spans)).astype(np.float64)
        for axis, (low, share, span) in enumerate(zip(lows, shares, spans, strict=True), 2):
            one = np.take(made, low - span.start, axis)
            two = np.take(made, np.minimum(low + 1, span.stop - 1) - span.start, axis)
            made = one + (two - one) * (share[:, None] if axis == 2 else share)
        return np.asarray(made, self.dtype)

    def _taps(self, axis: int, part: slice) -> tuple[Any, Any]:
        """Return the node before each place along an axis, and how far beyond it the place lies, in nodes."""
        at = np.arange(part.start, part.stop) / self.stride[axis] - self.start[axis]
        low = np.clip(np.floor(at).astype(int), 0, max(self.source.shape[2 + axis] - 2, 0))
        return low, at - low


SOFIMA = Format(
    suffix=".sofima.npz",
    about="a SOFIMA map, dx and dy in px",
    read=_read,
    begin=_begin,
    # Filled beside the archive, then copied into it.
    takes=lambda voxels: 16 * voxels,
)
