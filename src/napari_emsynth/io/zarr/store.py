"""A Zarr on a disk, read with suspicion, and an array of it as a source of voxels.

Laws: a chunk that is not there is a fill value only where nobody took it away since the array was opened; what is not a
plain file (a pipe, a device) is refused, not waited for; a chunk that says it decodes to more than a chunk holds is
refused before it is decoded.
"""

from __future__ import annotations

import math
import stat
import time
import weakref
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_emsynth.errors import InputError
from napari_emsynth.io.stored import Window
from napari_emsynth.io.url import Location, location
from napari_emsynth.io.zarr.cache import CHUNKS
from napari_emsynth.volume import Array

OWN_METADATA = ("zarr.json", ".zarray")
METADATA_NAMES = ("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata")
# A chunk may decode to this much, or to four times the whole array if that is more.
CHUNK_BYTES = 1 << 31
# The clock by which file systems tell when a folder changed.
FILE_CLOCK = getattr(time, "CLOCK_REALTIME_COARSE", 0)
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class LocalZarr(LocalStore):  # type: ignore[misc]
    """A store on a disk that tells what is missing from what was taken away."""

    def __init__(self, root: Path | str) -> None:
        super().__init__(root, read_only=True)
        self._since_ns = time.clock_gettime_ns(FILE_CLOCK) if hasattr(time, "clock_gettime_ns") else time.time_ns()
        self.most_bytes = CHUNK_BYTES

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a key, None where there is nothing and never was.

        Raises:
            InputError: it is no plain file, was taken away, or is not what a chunk can be.
        """
        place = Path(self.root) / key
        try:
            kind = place.stat().st_mode
        except OSError:
            if place.name not in METADATA_NAMES:
                self._check_untouched(place)
            return None
        if not stat.S_ISREG(kind):
            if stat.S_ISDIR(kind):
                return None
            raise InputError(f"{place} is no plain file")
        found = await super().get(key, prototype, byte_range)
        if found is not None and place.name not in METADATA_NAMES:
            check_decoded(str(place), found, self.most_bytes)
        return found

    def _check_untouched(self, place: Path) -> None:
        """Refuse a missing chunk whose folder changed since the store was opened.

        Raises:
            InputError: it did.
        """
        folder = next((p for p in place.parents if p.is_dir()), None)
        root = Path(self.root)
        if folder is None or root not in (folder, *folder.parents):
            raise InputError(f"{self.root} is not there any more")
        if folder.stat().st_mtime_ns > self._since_ns:
            raise InputError(f"{folder} was changed by another program while it was read; run again")


def check_decoded(place: str, found: Any, most: int) -> None:
    """Refuse a chunk that says it decodes to more than it can hold.

    Raises:
        InputError: it does.
    """
    size = decoded_bytes(found.as_numpy_array()[:24].tobytes(), len(found))
    if size is not None and size > most:
        raise InputError(f"{place} says it decodes to {size} bytes, a chunk has {most}")


def store_of(place: Location) -> Any:
    """Return the store of a Zarr that is only read, here or elsewhere.

    Raises:
        InputError: what reads such stores is not installed.
    """
    if isinstance(place, Path):
        return LocalZarr(place)
    from napari_emsynth.io.zarr.remote import RemoteZarr

    return RemoteZarr(place)


def decoded_bytes(head: bytes, count: int) -> int | None:
    """Return how many bytes a compressed chunk says it decodes to, None where it does not say.

    Args:
        head: its first 24 bytes.
        count: bytes of it.
    """
    if len(head) >= 16 and head[0] in (1, 2) and int.from_bytes(head[12:16], "little") == count:  # Blosc
        return int.from_bytes(head[4:8], "little")
    if head[:4] == ZSTD_MAGIC and len(head) >= 14:
        flags = head[4]
        single, width = flags >> 5 & 1, (1 << (flags >> 6)) if flags >> 6 else (flags >> 5 & 1)
        at = 5 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
        return int.from_bytes(head[at : at + width], "little") + (256 if width == 2 else 0) if width else None
    return None


class ZarrArray:
    """The :class:`napari_emsynth.io.stored.Source` of an array of a Zarr, its axes in any order.

    Args:
        root: folder of the store.
        name: of the array within it; "" for the root itself.
        order: which of its axes are z, y, x (or those of a field).
        picked: index along each of the others.

    Raises:
        InputError: chunks that no memory holds.
    """

    def __init__(self, root: str, name: str, order: Sequence[int], picked: Mapping[int, int]) -> None:
        self._asked = (root, name, tuple(order), dict(picked))
        self._store = store_of(location(root))
        self._array = zarr.open_array(self._store, path=name, mode="r")
        self.shape = tuple(int(self._array.shape[i]) for i in order)
        self.chunks = tuple(int(self._array.chunks[i]) for i in order)
        self.dtype = np.dtype(self._array.dtype)
        chunk = math.prod(self._array.shards or self._array.chunks) * self.dtype.itemsize
        whole = math.prod(self._array.shape) * self.dtype.itemsize
        if chunk > max(4 * whole, 1 << 20) or chunk > max(CHUNK_BYTES, 4 * whole):
            raise InputError(f"{root}: chunks of {chunk / 1e6:.3g} MB in an array of {whole / 1e6:.3g} MB: damaged")
        self._metadata = None if isinstance(self._store, LocalZarr) else self._documents()
        self._serial = CHUNKS.newcomer()
        weakref.finalize(self, CHUNKS.forget, self._serial)
        # Codecs may store a little beside the voxels.
        self._store.most_bytes = chunk + (1 << 16)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self._asked)

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self._asked

    @property
    def place(self) -> tuple[str, tuple[int, ...], dict[int, int]]:
        """The array's name within the store, which of its axes are z, y, x, and the index along each of the others."""
        _, name, order, picked = self._asked
        return name, order, dict(picked)

    @property
    def anchors(self) -> list[Path]:
        """The file that says what the array is; none of a store elsewhere, see :meth:`read`."""
        if self._metadata is not None:
            return []
        folder = Path(self._asked[0]) / self._asked[1]
        return [next(folder / name for name in OWN_METADATA if (folder / name).is_file())]

    def _documents(self) -> list[bytes | None]:
        """Return what a store elsewhere says of the array now."""
        return [self._store.document(f"{self._asked[1]}/{name}".lstrip("/")) for name in OWN_METADATA]

    def read(self, box: Window) -> Array:
        """Return a box; where it takes thin parts of chunks, those are kept for the next one."""
        lows = [part.start // edge for part, edge in zip(box, self.chunks, strict=True)]
        highs = [-(-part.stop // edge) for part, edge in zip(box, self.chunks, strict=True)]
        places = list(product(*(range(low, high) for low, high in zip(lows, highs, strict=True))))
        thin = box[0].stop - box[0].start < min(self.chunks[0], self.shape[0])
        if not thin or len(places) * math.prod(self.chunks) * self.dtype.itemsize > CHUNKS.capacity:
            return self._read(box)
        found = CHUNKS.get(self._serial, places)
        whole = [slice(low * edge, min(high * edge, length))
                 for low, high, edge, length in zip(lows, highs, self.chunks, self.shape, strict=True)]  # fmt: skip
        if found is None:
            read = self._read(tuple(whole))
            found = {place: np.ascontiguousarray(read[self._within(place, whole)]) for place in places}
            for place, chunk in found.items():
                CHUNKS.put(self._serial, place, chunk)
        made = np.empty([part.stop - part.start for part in box], self.dtype)
        for place, chunk in found.items():
            corner = [at * edge for at, edge in zip(place, self.chunks, strict=True)]
            cuts = [(max(part.start, low), min(part.stop, low + n))
                    for part, low, n in zip(box, corner, chunk.shape, strict=True)]  # fmt: skip
            into = tuple(slice(a - part.start, b - part.start) for (a, b), part in zip(cuts, box, strict=True))
            made[into] = chunk[tuple(slice(a - low, b - low) for (a, b), low in zip(cuts, corner, strict=True))]
        return made

    def _within(self, place: Sequence[int], whole: Sequence[slice]) -> tuple[slice, ...]:
        """Return a chunk as a part of a box of whole chunks."""
        edges = zip(place, self.chunks, whole, strict=True)
        return tuple(slice(at * edge - part.start, (at + 1) * edge - part.start) for at, edge, part in edges)

    def _read(self, box: Window) -> Array:
        """Return a box, as it is in the file."""
        _, _, order, picked = self._asked
        key: list[Any] = [picked.get(axis, slice(None)) for axis in range(self._array.ndim)]
        for axis, part in zip(order, box, strict=True):
            key[axis] = part
        found = np.asarray(self._array[tuple(key)])
        if self._metadata is not None and self._store.missed:
            # A store that has vanished reads as one that is empty.
            self._store.missed = False
            if self._documents() != self._metadata:
                raise InputError(f"{self._asked[0]} is not there any more, or was changed while it was read; run again")
        left = sorted(order)
        return found.transpose([left.index(axis) for axis in order])
