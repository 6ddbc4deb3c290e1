"""Files to volumes and results to files.

Reading is lazy: memory-mapped, or decoded as it is asked for. Writing streams block by block under a
temporary name and renames when complete; what cannot be read or written is refused in one line, before any
work.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple, check_voxel_nm
from napari_emsynth.io.atomic import UNCLAIMED, Claims, Part, undisturbed, working
from napari_emsynth.io.choice import Choice, ChoiceError
from napari_emsynth.io.content import Content
from napari_emsynth.io.inputs import NO_INPUTS, Inputs
from napari_emsynth.io.output_checks import check_place
from napari_emsynth.io.url import Location, Url, check_there, here, location
from napari_emsynth.spec import CancelToken, Progress, Result, no_note, no_progress
from napari_emsynth.volume import Volume

if TYPE_CHECKING:
    import numpy as np

Format = Literal["tiff", "zarr", "mrc", "folder", "tensor"]
READERS: dict[Format, str] = {
    "tiff": "tiff.read",
    "zarr": "zarr.read",
    "mrc": "mrc",
    "folder": "folder",
    "tensor": "tensor",
}
SUFFIXES: dict[str, Format] = {
    ".tif": "tiff", ".tiff": "tiff", ".zarr": "zarr", ".mrc": "mrc", ".rec": "mrc", ".st": "mrc", ".ali": "mrc",
}  # fmt: skip
WORDS = {"series": "images", "channel": "channels or colours", "time": "times", "level": "levels"}
WRITTEN: tuple[Format, ...] = ("tiff", "zarr")

__all__ = [
    "SUFFIXES",
    "check_holds",
    "check_output",
    "read",
    "read_one",
    "read_provenance",
    "read_synthetic",
    "read_uncertainty",
    "write",
]


def read(
    path: str | os.PathLike[str] | Url,
    voxel_nm: tuple[float, float, float] | None = None,
    *,
    series: int | None = None,
    channel: int | None = None,
    time: int | None = None,
    level: int | None = None,
    labels: bool = False,
) -> Volume:
    """Read a file or a folder of images as a lazy volume.

    Args:
        path: .tif, .tiff, .ome.tif, .zarr, .ome.zarr, .mrc (.rec, .st, .ali), a folder of 2-D images, a precomputed
            volume or an N5; or the address (http, https, s3, gs, memory) of a Zarr, a precomputed volume or an N5.
        voxel_nm: voxel size (z, y, x) in nm; replaces what the file states. Without either it is unknown
            (None).
        series: which image, where the file holds several.
        channel: which channel or colour, where it has several.
        time: which time point, where it has several.
        level: which resolution, 0 the finest, where it has several; 0 when left out.
        labels: values are ids or marks: numbers are read as they are stored, whatever colours they are shown in.

    Returns:
        The volume; ``metadata["path"]`` is its file, ``metadata["notices"]`` what the user must know of how it was
        read, ``known`` what the file says of earlier steps (record, synthetic and empty voxels, error estimate) and
        which voxels it names and does not hold (empty).

    Raises:
        ChoiceError: the file holds several images, channels or times, and none is chosen.
        InputError: no such file, unknown suffix, damaged, or not one volume z, y, x of grey voxels.
    """
    size: Triple | None = check_voxel_nm(voxel_nm)
    place = location(path)
    kind = _existing(place)
    choice = Choice(series=series, channel=channel, time=time, level=level, labels=labels)
    volume = _reader(kind)(place, choice)
    if choice:
        volume.metadata["chosen"] = choice.picked
    if volume.dtype.kind not in "buif":
        raise InputError(f"{place} holds voxels of type {volume.dtype}, needs integers or floats")
    grid = volume.grid if size is None else replace(volume.grid, voxel_nm=size)
    return replace(volume, grid=grid, labels=volume.labels or labels)


def read_one(
    path: str | os.PathLike[str] | Url,
    what: str,
    voxel_nm: tuple[float, float, float] | None = None,
    *,
    labels: bool = True,
) -> Volume:
    """Read a volume that goes beside another, such as a mask, of which nothing is chosen.

    Args:
        path: as :func:`read` takes it.
        what: it is, in the user's words, such as ``--mask``.
        voxel_nm: see :func:`read`.
        labels: see :func:`read`.

    Raises:
        InputError: see :func:`read`; it holds several images, channels or times.
    """
    try:
        return read(path, voxel_nm, labels=labels)
    except ChoiceError as error:
        several = next(iter(error.choices[0].picked), "image")
        raise InputError(f"{path} holds {len(error.choices)} {WORDS[several]}: {what} takes one grey volume") from error


def read_synthetic(path: str | os.PathLike[str]) -> Volume | None:
    """Return the synthetic mask (uint8, 1 = made up) a file carries, or None.

    Raises:
        InputError: no such file, unknown suffix, or damaged.
    """
    return _part(location(path), "synthetic")


def read_uncertainty(path: str | os.PathLike[str]) -> Volume | None:
    """Return the uncertainty (float32, half width of the 90 % interval) a file carries, or None.

    Raises:
        InputError: no such file, unknown suffix, or damaged.
    """
    return _part(location(path), "uncertainty")


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the provenance record a file carries, or None.

    Raises:
        InputError: no such file, unknown suffix, or damaged.
    """
    place = location(path)
    kind = _existing(place)
    if kind == "tiff" and isinstance(place, Path):
        from napari_emsynth.io.tiff.read import read_tiff_record

        return read_tiff_record(place)
    if kind == "zarr":
        from napari_emsynth.io.zarr.read import read_zarr_record

        return read_zarr_record(place)
    return None


def write(
    source: Result | Volume,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
    inputs: Inputs = NO_INPUTS,
    claims: Claims = UNCLAIMED,
    part: Part | None = None,
) -> Path:
    """Write a result (volume, synthetic mask, uncertainty, provenance) or a volume; lazy arrays are streamed.

    Args:
        source: what to write; never modified.
        path: .tif, .tiff or .ome.tif for OME-TIFF; .zarr or .ome.zarr for OME-Zarr 0.5; on a disk.
        overwrite: replace what is there; it stays until the new one is complete.
        resume: Zarr only: continue the same job after a kill or a cancel, without computing finished blocks
            again.
        progress: called after every block.
        cancel: asked between blocks.
        note: told in one line what a user should know, such as what of an unfinished job is damaged.
        inputs: files that the result was made from, as they were; the one that the volume names is looked at here.
        claims: outputs that are held already, from before the result was computed.
        part: Zarr only: which part of the work, from 0, of how many; others are done by other processes, which must
            claim the output as shared.

    Returns:
        The path written; of a link, what it points to is. Of a part it is there once all parts are done.

    Raises:
        InputError: see :func:`check_output`; the disk is full; ``resume`` finds another job's work; an input vanished
            or was changed. Finished Zarr blocks wait for ``resume`` then.
        Cancelled: nothing is at ``path``; finished Zarr blocks wait for ``resume``.
    """
    path = here(path)
    content = Content.of(source, inputs)
    known = content.volume.metadata.get("path")
    check_output(path, known, overwrite, resume)
    if part is not None and _kind(path) != "zarr":
        raise InputError(f"cannot write a part of {path}: only .zarr outputs can be written in parts")
    with working(path, claims, note) as work:
        check_output(path, known, overwrite, resume)  # again: now nobody else can write it
        if _kind(path) == "tiff":
            from napari_emsynth.io.tiff.write import write_tiff

            write_tiff(content, work, progress, cancel)
        else:
            from napari_emsynth.io.zarr.write import write_zarr

            if not write_zarr(content, work, progress, cancel, resume=resume, part=part):
                assert part is not None
                note(f"part {part[0]} of {part[1]} is written; {path} appears when all parts are")
                return path
        content.inputs.check_there()
        try:
            content.inputs.check_unchanged(path)
        except InputError:
            work.spoiled = True
            raise
        with undisturbed():
            work.publish()
    return path


def check_output(
    path: str | os.PathLike[str], source: str | os.PathLike[str] | Url | None, overwrite: bool, resume: bool = False
) -> None:
    """Refuse an output that cannot or must not be written, before any work.

    Args:
        path: where the result goes.
        source: the input's file or folder; None when it has none.
        overwrite: an existing output may be replaced.
        resume: an interrupted job is to be continued.

    Raises:
        InputError: unknown suffix, a name too long for the file system, a folder that is missing or read-only, OUT
            that is or overlaps IN, OUT that exists.
    """
    path = here(path)
    kind = _kind(path)
    if kind not in WRITTEN:
        raise InputError(f"cannot write {path}: suffix {path.suffix or 'missing'!r}, needs {_written()}")
    if resume and kind != "zarr":
        raise InputError(f"cannot resume {path}: only .zarr outputs can be resumed")
    check_place(path, source, overwrite, folder=kind == "zarr")


def check_holds(path: str | os.PathLike[str], dtype: np.dtype[Any]) -> None:
    """Refuse a file whose format cannot hold voxels of a type, before any work.

    Raises:
        InputError: it cannot.
    """
    if _kind(Path(path)) == "tiff":
        from napari_emsynth.io.tiff.write import check_dtype

        check_dtype(dtype)


def _reader(kind: Format) -> Callable[[Location, Choice], Volume]:
    """Return the reader of a format; only what it needs is imported."""
    module = importlib.import_module(f"napari_emsynth.io.{READERS[kind]}")
    reader: Callable[[Location, Choice], Volume] = getattr(module, f"read_{kind}")
    return reader


def _written() -> str:
    return " or ".join(suffix for suffix, kind in SUFFIXES.items() if kind in WRITTEN)


def _kind(path: Path) -> Format | None:
    """Return the format a name asks for."""
    return SUFFIXES.get(path.suffix.lower())


def _existing(path: Location) -> Format:
    """Return the format of what is at ``path``.

    Raises:
        InputError: nothing is there, or its suffix is unknown.
    """
    if isinstance(path, Url):
        return _elsewhere(path)
    check_there(path)
    if path.is_dir():
        from napari_emsynth.io.tensor import kind_of
        from napari_emsynth.io.zarr.read import is_zarr

        if is_zarr(path) or _kind(path) == "zarr":
            return "zarr"
        return "folder" if kind_of(path) is None else "tensor"
    if not path.is_file():
        raise InputError(f"cannot read {path}: it is no plain file")
    kind = _kind(path)
    if kind == "zarr":
        raise InputError(f"cannot read {path}: it is a file, and a Zarr is a folder; unpack it if it is an archive")
    if kind is None:
        known = ", ".join((*SUFFIXES, "a folder of 2-D images"))
        raise InputError(f"cannot read {path}: suffix {path.suffix or 'missing'!r}, needs {known}")
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: it has 0 bytes")
    return kind


def _elsewhere(url: Url) -> Format:
    """Return the format of what is at an address.

    Raises:
        InputError: nothing is, or it cannot be reached.
    """
    from napari_emsynth.io.stored import opening
    from napari_emsynth.io.tensor import kind_of
    from napari_emsynth.io.zarr.read import is_zarr

    if url.kind is not None:
        return "zarr" if url.kind == "zarr" else "tensor"
    with opening(str(url), "a store"):
        if is_zarr(url):
            return "zarr"
    if kind_of(url) is not None:
        return "tensor"
    raise InputError(f"nothing that can be read is at {url}: neither Zarr, nor precomputed, nor N5")


def _part(path: Location, name: str) -> Volume | None:
    kind = _existing(path)
    if kind == "tiff":
        from napari_emsynth.io.tiff.read import read_tiff_part

        assert isinstance(path, Path)
        return read_tiff_part(path, name)
    if kind == "zarr":
        from napari_emsynth.io.zarr.read import read_zarr_part

        return read_zarr_part(path, name)
    return None
