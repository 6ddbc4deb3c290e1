"""Text to values, for what typer does not know: voxel sizes, regions."""

from __future__ import annotations

import re

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape, Triple, check_voxel_nm


def parse_voxel_nm(text: str | None) -> Triple | None:
    """Return a voxel size z, y, x in nm from "28,11.24,11.24".

    Raises:
        InputError: not three numbers, or not of this world.
    """
    if text is None:
        return None
    return check_voxel_nm(text.split(","))  # type: ignore[arg-type]


def parse_roi(text: str | None, shape: Shape) -> tuple[slice, slice, slice] | None:
    """Return three slices from "z0:z1,y0:y1,x0:x1" (an end left out is the volume's).

    Raises:
        InputError: not three ranges, an empty one, or one outside the volume.
    """
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3:
        raise InputError(f"--roi {text!r} has {len(parts)} ranges, needs 3: z0:z1,y0:y1,x0:x1")
    z, y, x = (_range(text, part, axis, size) for part, axis, size in zip(parts, "zyx", shape, strict=True))
    return z, y, x


def _range(text: str, part: str, axis: str, size: int) -> slice:
    match = re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part)
    if match is None:
        raise InputError(f"--roi {text!r}: {part.strip()!r} is not a range such as 0:64 along {axis}")
    start, stop = int(match[1] or 0), int(match[2] or size)
    if not start < stop <= size:
        raise InputError(f"--roi {text!r}: {start}:{stop} px along {axis} is empty or outside 0:{size} px")
    return slice(start, stop)


def parse_part(text: str) -> tuple[int, int]:
    """Return N and M of a part written as ``N/M``.

    Raises:
        InputError: not two whole numbers, or N outside 0 to M - 1.
    """
    number, _, count = text.partition("/")
    if not (number.strip().isdecimal() and count.strip().isdecimal()):
        raise InputError(f"--array {text} is not N/M, a part and how many there are, such as 0/16")
    if not int(number) < int(count):
        raise InputError(f"--array {text}: part {int(number)} is outside 0 to {int(count) - 1}")
    return int(number), int(count)
