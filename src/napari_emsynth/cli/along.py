"""What goes along with a result from the command line: ``IN=OUT2``, as often as it is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_emsynth.errors import InputError

if TYPE_CHECKING:
    from napari_emsynth.io.export import Output
    from napari_emsynth.volume import Volume


def split(text: str) -> tuple[Path, Path]:
    """Return the two files that ``IN=OUT2`` names; a name may hold an equals sign where such a file exists.

    Raises:
        InputError: not two names.
    """
    cuts = [i for i, letter in enumerate(text) if letter == "=" and 0 < i < len(text) - 1]
    if not cuts:
        raise InputError(f"--apply-to {text!r} is not LABELS=OUT2: the file to move, and the file to write")
    at = next((i for i in cuts if Path(text[:i]).exists()), cuts[0])
    return Path(text[:at]), Path(text[at + 1 :])


def outputs(texts: Sequence[str], volume: Volume, interpolation: str | None) -> list[Output]:
    """Return what goes along, read lazily, and where it is written.

    Args:
        texts: each ``IN=OUT2``.
        volume: what it goes along with.
        interpolation: of what is moved; None for labels that are upsampled.

    Raises:
        InputError: a file that cannot be read, of another shape than the volume, or without ids where they are needed.
    """
    from napari_emsynth.io import read_one
    from napari_emsynth.io.export import Output, check_carried
    from napari_emsynth.methods.upsample.labels.labels import check_ids

    found = []
    for path, out in map(split, texts):
        flag = "--apply-to-image" if interpolation == "cubic" else "--apply-to"
        along = read_one(path, flag, volume.grid.voxel_nm, labels=interpolation != "cubic")
        check_carried(along, volume.shape, str(path))
        if interpolation is None:
            check_ids(replace(along, name=str(path)))
        found.append(Output(path=out, volume=along, interpolation=interpolation))
    return found


def told(texts: Sequence[str]) -> list[dict[str, str]]:
    """Return what the JSON object says of what went along."""
    return [{"in": str(given), "out": str(out)} for given, out in map(split, texts)]
