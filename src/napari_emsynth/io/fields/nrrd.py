"""ITK fields in ``.nrrd``: header and data in one file; read raw or in gzip, written raw.

Conventions: the first axis is the vector's. Space is left-posterior-superior, ITK's own, or has no name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import Format, Found, Head
from napari_emsynth.io.fields.itk import HEADER_BYTES, IDENTITY, Filled, VectorImage, as_text, found, numbers, type_of
from napari_emsynth.io.stored import opening
from napari_emsynth.io.units import nm_per

MAGIC = "NRRD"
TYPES = {
    "float": "f4", "double": "f8", "signed char": "i1", "int8": "i1", "uchar": "u1", "unsigned char": "u1",
    "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "unsigned short": "u2", "uint16": "u2", "int": "i4",
    "int32": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4",
}  # fmt: skip
PACKED = {"raw": False, "gzip": True, "gz": True}
SPACES = ("left-posterior-superior", "lps")


def _begin(work: Work, head: Head) -> Filled:
    z, y, x = head.field.shape
    steps = as_text(head.voxel_nm)
    vectors = (f"({','.join(step if own == axis else '0' for own in range(3))})" for axis, step in enumerate(steps))
    lines = (
        "NRRD0005",
        "type: float",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: 3 {x} {y} {z}",
        f"space directions: none {' '.join(vectors)}",
        "kinds: vector domain domain domain",
        "endian: little",
        "encoding: raw",
        'space units: "nm" "nm" "nm"',
        f"space origin: ({','.join(as_text(head.origin_nm))})",
    )
    return Filled.begun(work.data, "\n".join(lines) + "\n\n", head)


def _read(path: Path) -> Found:
    with opening(path, ".nrrd"):
        said, offset = _header(path)
        if said["dimension"] != "4" or int(numbers(said["sizes"], 4)[0]) != 3:
            needs = "needs 4: vectors x, y, z, first, and x, y, z"
            raise InputError(f"sizes {said['sizes'][:60]} of {said['dimension'][:20]} axes, {needs}")
        if said.get("encoding", "").lower() not in PACKED:
            raise InputError(f"encoding {said.get('encoding', '')[:20]!r}, needs raw or gzip")
        _check_plain(said)
        x, y, z = (int(n) for n in numbers(said["sizes"], 4)[1:])
        spacing, direction = _steps(said)
        image = VectorImage(
            size=(x, y, z),
            spacing=spacing,
            origin=numbers(said.get("space origin", "0 0 0"), 3),
            unit_nm=_unit(said),
            direction=direction,
            dtype=type_of(TYPES, said["type"].lower(), big=said.get("endian", "little").lower() == "big"),
            offset=offset,
            packed=PACKED[said["encoding"].lower()],
        )
        return found(path, image)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return what the header says, and where it ends.

    Raises:
        InputError: it is none, or does not end.
    """
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if not start.startswith(MAGIC.encode()):
        raise InputError(f"it does not begin with {MAGIC}")
    said: dict[str, str] = {}
    at = 0
    while True:
        end = start.find(b"\n", at)
        if end < 0:
            raise InputError("its header does not end")
        line, at = start[at:end].decode("ascii", "replace").rstrip("\r"), end + 1
        if not line:
            return said, at
        field, colon, value = line.partition(": ")
        if colon and not line.startswith("#") and ":=" not in field:
            said[field.lower()] = value.strip()


def _check_plain(said: dict[str, str]) -> None:
    """Refuse what would put the vectors elsewhere, or turn them.

    Raises:
        InputError: data in another file, bytes to skip, another space, a frame of the vectors' own.
    """
    for key in ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"):
        if said.get(key, "0") != "0":
            raise InputError(f"{key}: {said[key][:60]}, needs the vectors in this file, right after the header")
    if said.get("space", SPACES[0]).lower() not in SPACES:
        raise InputError(f"space: {said['space'][:60]}, needs {SPACES[0]}, as ITK writes it")
    frame = said.get("measurement frame", "none")
    if frame != "none" and tuple(numbers(frame, 9)) != IDENTITY:
        raise InputError(f"measurement frame: {frame[:60]}, needs the identity")


def _steps(said: dict[str, str]) -> tuple[list[float], list[float]]:
    """Return the spacing x, y, z, and the direction matrix."""
    if "space directions" not in said:
        told = said.get("spacings", "nan 1 1 1").split(maxsplit=1)
        return numbers(told[1], 3), list(IDENTITY)
    first, _, rest = said["space directions"].partition(" ")
    if first != "none":
        raise ValueError(f"space directions {said['space directions'][:60]!r}, needs none for the vectors, first")
    along = numbers(rest, 9)
    spacing = [float(np.hypot.reduce(along[3 * n : 3 * n + 3])) for n in range(3)]
    if min(spacing) <= 0:
        raise ValueError(f"space directions {rest[:60]!r} have no length")
    # An axis is a row here, and a column of the matrix.
    return spacing, [along[3 * axis + n] / spacing[axis] for n in range(3) for axis in range(3)]


def _unit(said: dict[str, str]) -> float | None:
    """Return the unit in nm: nm where none is named, None where it is no length or differs by axis."""
    words = {word.strip('"') for word in said.get("space units", "nm").split()} - {"", "none", "???"}
    return nm_per(words.pop()) if len(words) == 1 else 1.0 if not words else None


NRRD = Format(
    suffix=".nrrd",
    about="an ITK displacement field, x, y, z in nm",
    read=_read,
    begin=_begin,
    takes=lambda voxels: 12 * voxels,
    physical=True,
)
