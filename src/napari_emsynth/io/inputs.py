"""The files that a result is made from: which they are, and whether they are still what they were.

Conventions: a file is its path, size and time of change; a folder (a Zarr, a stack of images) is all files in it,
hidden ones left out that are no metadata of a Zarr. No content is read. A store elsewhere is what it says of itself.

Laws: whatever is written into, put into or taken out of a folder changes its identity; what a result shows was read
from inputs that were the same from the first block to the last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_emsynth.errors import InputError
from napari_emsynth.io.stored import opening
from napari_emsynth.io.url import Location, Url, location

ZARR_METADATA = frozenset({".zarray", ".zgroup", ".zattrs", ".zmetadata"})


@dataclass(frozen=True)
class Inputs:
    """Files and folders, as they were when they were looked at.

    Args:
        seen: identity of each, by its absolute path; None of one that was not there.
    """

    seen: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def of(cls, paths: Iterable[object]) -> Inputs:
        """Look at files and folders; None stands for no file."""
        places = [location(path) for path in paths if path is not None]
        known = sorted({str(place.resolve() if isinstance(place, Path) else place) for place in places})
        return cls(tuple((place, identity(location(place))) for place in known))

    def and_of(self, paths: Iterable[object]) -> Inputs:
        """Return these with others, which are looked at now."""
        there = dict(self.seen)
        more = (entry for entry in Inputs.of(paths).seen if entry[0] not in there)
        return Inputs(tuple(sorted((*self.seen, *more))))

    @property
    def digest(self) -> str:
        """What tells these from others, and from what they were before."""
        return hashlib.sha256("\n".join(f"{path} {found}" for path, found in self.seen).encode()).hexdigest()

    def check_there(self) -> None:
        """Refuse to go on without an input.

        Raises:
            InputError: one has vanished.
        """
        for path, found in self.seen:
            place = location(path)
            # A store elsewhere is asked by whoever reads it.
            if found is not None and isinstance(place, Path) and not place.exists():
                raise InputError(f"{path} has vanished while it was read")

    def changed(self) -> str | None:
        """Return the first input that is not what it was, None where all are."""
        return next((path for path, found in self.seen if identity(location(path)) != found), None)

    def check_unchanged(self, out: Path) -> None:
        """Refuse to keep what was made from an input that was changed meanwhile.

        Raises:
            InputError: one has vanished, or is not what it was.
        """
        self.check_there()
        if (changed := self.changed()) is not None:
            raise InputError(f"{changed} was changed while it was read: {out} would show two states of it; run again")


NO_INPUTS = Inputs()
"""Of what was made from no file."""


def identity(path: Location) -> str | None:
    """Return what tells a file, or a folder with all that is in it, from what it was before; None without any.

    Of a store elsewhere, which cannot be looked through, it is what the store says of itself.
    """
    if not isinstance(path, Path):
        return _said_by(path)
    try:
        status = path.stat()
    except OSError:
        return None
    mixed = hashlib.sha256()
    for name, size, changed in _files(path) if path.is_dir() else [("", status.st_size, status.st_mtime_ns)]:
        mixed.update(f"{name}\0{size}\0{changed}\0".encode("utf-8", "surrogateescape"))
    return mixed.hexdigest()


def _said_by(url: Url) -> str | None:
    """Return a digest of the metadata at an address; None where nothing answers."""
    from napari_emsynth.io.tensor import KNOWN_BY, document
    from napari_emsynth.io.zarr.remote import RemoteZarr
    from napari_emsynth.io.zarr.store import METADATA_NAMES

    with opening(url, "a store"):
        if url.kind in (None, "zarr"):
            store = RemoteZarr(url)
            found = [store.document(name) for name in METADATA_NAMES]
        else:
            found = [document(url, name) for name in KNOWN_BY]
    return hashlib.sha256(repr(found).encode()).hexdigest() if any(found) else None


def _files(folder: Path, above: str = "") -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of the files in a folder, in order."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{above}{entry.name}"
        if entry.name.startswith(".") and entry.name not in ZARR_METADATA:
            continue
        try:
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{name}/")
            else:
                status = entry.stat()
                yield name, status.st_size, status.st_mtime_ns
        except OSError:  # a link to nothing, or gone between two looks
            yield name, -1, -1
