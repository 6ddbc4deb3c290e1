"""MRC volumes, as IMOD and the MRC2014 standard write them.

Conventions: cell sizes are Angstrom; 1 x 1 x 1 Angstrom is what writers put when they do not know, so it is unknown.

Laws: bytes (mode 0) are signed or unsigned as IMOD's stamp and flags say, else as the header's minimum and maximum say,
else as the voxels are smoother, and what was not stated is said; a wrong machine stamp or a missing MAP does not
matter where the header makes sense one way round.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.io.choice import EVERYTHING, Choice
from napari_emsynth.io.raw import Raw
from napari_emsynth.io.stored import Stored, opening
from napari_emsynth.io.units import plausible
from napari_emsynth.volume import Volume

HEADER_BYTES = 1024
MODES = {0: "bytes", 1: "int16", 2: "float32", 6: "uint16", 12: "float16"}
# IMOD's stamp in the header, and the flag that its bytes are signed.
IMOD_STAMP, SIGNED_BYTES = 1146047817, 1
# No section is wider, no stack taller: a larger number is read the wrong way round.
LARGEST_AXIS = 1 << 24
# Ends of the ranges of signed and unsigned bytes.
HIGHEST_SIGNED = 127


def read_mrc(path: Path, choice: Choice = EVERYTHING) -> Volume:
    """Read an MRC file as a volume.

    Raises:
        InputError: not an MRC file, damaged, or not one stack of grey sections.
    """
    for what in ("series", "channel", "time", "level"):
        choice.pick(path, what, [""])
    with opening(path, "MRC"):
        header, steps = _header(path)
        source, notices = _source(path, header)
    known = steps != (1.0, 1.0, 1.0)
    voxel_nm = plausible([round(s / 10, 6) for s in steps]) if known else None
    origin = [float(header.origin[a]) / 10 for a in "zyx"] if known else [0.0, 0.0, 0.0]
    z, y, x = (o if math.isfinite(o) else 0.0 for o in origin)
    sections, rows, columns = source.shape
    grid = Grid(shape=(sections, rows, columns), voxel_nm=voxel_nm, origin_nm=(z, y, x))
    return Volume(Stored(path, source, [path]), grid, path.stem, {"path": str(path), "notices": notices})


def _header(path: Path) -> tuple[Any, tuple[float, ...]]:
    """Return the header, in the byte order in which it makes sense, and voxel sizes z, y, x in Angstrom.

    Raises:
        InputError: it makes no sense either way.
    """
    import mrcfile

    with mrcfile.open(path, mode="r", header_only=True, permissive=True) as mrc:
        header = mrc.header.copy()
    if not _makes_sense(header):
        header = header.view(header.dtype.newbyteorder())
    if not _makes_sense(header):
        raise InputError(f"{path} cannot be read as MRC: its header states no volume in either byte order")
    cell, counts = header.cella, (header.mz, header.my, header.mx)
    steps = [float(cell[a]) / n if n > 0 else 0.0 for a, n in zip("zyx", map(int, counts), strict=True)]
    return header, tuple(steps)


def _makes_sense(header: Any) -> bool:
    return all(0 < int(header[a]) < LARGEST_AXIS for a in ("nx", "ny", "nz")) and 0 <= int(header.mode) < 256


def _source(path: Path, header: Any) -> tuple[Raw, tuple[str, ...]]:
    """Return where the voxels lie and what they are, and what to say of that.

    Raises:
        InputError: complex or unknown voxels, axes in another order, several volumes, a file that is too short.
    """
    from mrcfile.utils import data_dtype_from_header, data_shape_from_header

    if int(header.mode) not in MODES:
        known = ", ".join(f"{mode} ({what})" for mode, what in MODES.items())
        raise InputError(f"{path} holds voxels of mode {int(header.mode)}, needs one of {known}")
    dtype, shape = data_dtype_from_header(header), tuple(int(n) for n in data_shape_from_header(header))
    order = tuple(int(header[a]) for a in ("mapc", "mapr", "maps"))
    if order not in ((1, 2, 3), (0, 0, 0)):
        raise InputError(f"{path} keeps its axes in the order {order} (columns, rows, sections), needs 1, 2, 3")
    if len(shape) != 3:
        raise InputError(f"{path} has shape {shape}, needs 3 axes z, y, x")
    offset = HEADER_BYTES + int(header.nsymbt)
    if offset < HEADER_BYTES or offset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise InputError(f"{path} is cut short: it holds less than the {shape} voxels it states")
    source = Raw(str(path), offset, (shape[0], shape[1], shape[2]), dtype)
    if int(header.mode) != 0:
        return source, ()
    signed, how = _signed(header, source)
    said = () if how == "stamp" else (f"{path.name} does not state whether its bytes are signed: {how}",)
    return Raw(source.path, offset, source.shape, np.dtype("i1" if signed else "u1")), said


def _signed(header: Any, source: Raw) -> tuple[bool, str]:
    """Return whether bytes are signed, and how that is known: "stamp" where the file states it."""
    # Words 39 and 40 of the header, counted from 1 byte after the 38th: IMOD's stamp and flags.
    words = np.frombuffer(header.tobytes()[152:160], np.dtype(np.int32).newbyteorder(header.dtype["nx"].byteorder))
    if int(words[0]) == IMOD_STAMP:
        return bool(int(words[1]) & SIGNED_BYTES), "stamp"
    low, high = float(header.dmin), float(header.dmax)
    if low < high and (low < 0 or high > HIGHEST_SIGNED):
        return low < 0, f"read as {'signed' if low < 0 else 'unsigned'}, by its minimum {low:g} and maximum {high:g}"
    count, rows, columns = source.shape
    looked = [source.read((slice(z, z + 1), slice(0, rows), slice(0, columns))) for z in {0, count // 2, count - 1}]
    # Read the wrong way, neighbours on both sides of the middle grey lie 255 apart.
    rough = {
        kind: sum(float(np.abs(np.diff(s.view(kind).astype(np.int16))).sum()) for s in looked) for kind in ("i1", "u1")
    }
    signed = rough["i1"] < rough["u1"]
    return signed, f"read as {'signed' if signed else 'unsigned'}, which makes its sections smoother"
