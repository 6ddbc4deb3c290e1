"""Where an output may go: refused before any work, whatever kind of file it is."""

from __future__ import annotations

import os
from pathlib import Path

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import check_name, real
from napari_emsynth.io.url import Location, Url, location


def check_place(path: Path, source: str | os.PathLike[str] | Url | None, overwrite: bool, *, folder: bool) -> None:
    """Refuse a place where nothing can or must be written.

    Args:
        path: where the output goes.
        source: the input's file or folder; None when it has none.
        overwrite: an existing output may be replaced.
        folder: the output is a Zarr, which is a folder; else a file.

    Raises:
        InputError: a name too long for the file system, a folder that is missing or read-only, OUT that is or overlaps
            IN, OUT that exists.
    """
    check_name(path)
    if source is not None:
        check_apart(path, location(source))
    place = real(path).parent
    if not place.is_dir():
        raise InputError(f"cannot write {path}: the folder {place} does not exist")
    if not os.access(place, os.W_OK):
        raise InputError(f"cannot write {path}: the folder {place} is not writable")
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise InputError(f"{path} exists; choose another name or allow overwriting")
        _check_replaceable(path, folder)


def check_apart(out: Path, source: Location) -> None:
    """Refuse an output that is the input, inside it or around it.

    Raises:
        InputError: they overlap.
    """
    check_name(out)
    if not isinstance(source, Path):
        return
    out, source = real(out), real(source)
    if out == source or (out.exists() and source.exists() and out.samefile(source)):
        raise InputError(f"output and input are the same file {out}; the input is never modified")
    if source in out.parents or out in source.parents:
        raise InputError(f"output {out} and input {source} overlap; the input is never modified")


def _check_replaceable(path: Path, folder: bool) -> None:
    """Refuse to replace a folder that is not a Zarr."""
    from napari_emsynth.io.zarr.read import is_zarr

    if path.is_dir() and not (folder and (is_zarr(path) or not any(path.iterdir()))):
        raise InputError(f"cannot overwrite {path}: it is a folder that holds other things than a Zarr image")
