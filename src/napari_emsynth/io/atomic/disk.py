"""Names, room and what is on the disk for good.

Laws: what :func:`sync` or :func:`put` returned from is there after a power loss; a name that the file system cannot
hold is refused before work.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from napari_emsynth.errors import InputError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What file systems allow where they do not say.
LONGEST_NAME = 255
# A folder into which a killed job's threads still write is emptied so many times.
ATTEMPTS = 20


def real(path: Path) -> Path:
    """Return what a path names in the end: of a link what it points to, which need not be there.

    Raises:
        InputError: links that point to each other.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be followed: {error}") from error


def longest_name(folder: Path) -> int:
    """Return how many bytes a name in ``folder`` may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return LONGEST_NAME


def check_name(path: Path) -> None:
    """Refuse a name that the file system cannot hold.

    Raises:
        InputError: it is too long.
    """
    length, limit = len(os.fsencode(path.name)), longest_name(path.parent)
    if length > limit:
        raise InputError(f"the name {path.name[:40]}... has {length} bytes, the file system's limit is {limit} bytes")


def beside(target: Path, ending: str) -> Path:
    """Return a hidden name beside ``target`` that is its own, whatever its length."""
    name = f".{target.name}{ending}"
    if len(os.fsencode(name)) > longest_name(target.parent):
        name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}{ending}"
    return target.with_name(name)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        for _ in range(ATTEMPTS):
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                return
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    if path.is_dir():
        if sys.platform == "win32":  # which keeps the names itself
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(files: Iterable[Path], root: Path) -> None:
    """Wait until files are on the disk, with the folders between them and ``root``; those that are not there are not.

    Args:
        files: below ``root``.
        root: a folder.
    """
    folders: set[Path] = {root}
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            sync(file)
        folders.update(parent for parent in file.parents if parent.is_relative_to(root))
    for folder in sorted(folders, reverse=True):
        with contextlib.suppress(FileNotFoundError):
            sync(folder)


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if path.is_dir():
        for folder, _, files in os.walk(path):
            for name in files:
                sync(Path(folder, name))
            sync(Path(folder))
    else:
        sync(path)


def put(made: Path, target: Path) -> None:
    """Give a complete file or folder its name, for good; a file replaces one that is there."""
    sync_tree(made)
    made.replace(target)
    sync(target.parent)


def why_not_written(error: OSError, target: Path) -> str:
    """Return one line that says why ``target`` was not written."""
    if error.errno in DISK_FULL:
        free = shutil.disk_usage(target.parent).free
        return f"disk full: {target} was not written; {free / 1e6:.0f} MB free in {target.parent}"
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot write {target}: {error.strerror or error}{where}"


def check_room(target: Path, needed: int) -> None:
    """Refuse to begin a file that cannot fit.

    Args:
        target: what is to be written.
        needed: bytes that it takes at least.

    Raises:
        InputError: less is free.
    """
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise InputError(f"disk full: {target} takes {needed / 1e6:.3g} MB, {free / 1e6:.3g} MB free")
