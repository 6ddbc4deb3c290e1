"""Voxels that stay in their file until they are asked for: the one way by which every block of a file is read.

Conventions: a :class:`Source` decodes one kind of file, a box at a time; :class:`Stored` makes it an array.

Laws: whatever goes wrong while a block is read becomes one line that names the file and the section; a file that
vanished or was exchanged since it was opened is refused, never read as fill values or as another's voxels; the array
travels to other processes as what it takes to open the file again.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.volume import Array

Window = tuple[slice, ...]


class Source(Protocol):
    """Decodes boxes of voxels; pickled, it must open its file again."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sections first, columns last."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored, byte order included."""

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded at once, along each axis."""

    def read(self, box: Window) -> Array:
        """Return a box, its slices within the shape and of step 1."""
        ...


@contextlib.contextmanager
def opening(path: object, kind: str) -> Iterator[None]:
    """Turn whatever a decoder says of a file that it cannot make sense of into one line.

    Args:
        path: of the file.
        kind: what it should be, such as "TIFF".

    Raises:
        InputError: anything went wrong inside.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Cancelled:
        raise
    except InputError as error:
        if Path(str(path)).name in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # a decoder fed with damaged bytes raises anything
        raise InputError(f"{path} cannot be read as {kind}: {why(error)}") from error


def why(error: Exception) -> str:
    """Return what an exception says, in one line."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror
    if isinstance(error, KeyError):
        said = f"{said} is missing"
    if isinstance(error, TypeError | AttributeError | IndexError):
        said = f"what it says of itself makes no sense ({said})"
    return said or type(error).__name__


def identity(path: Path | str) -> tuple[int, int, int]:
    """Return what tells a file from another under its name: its node, size and time of change.

    Raises:
        InputError: there is none.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path} has vanished: {why(error)}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


class Stored:
    """An array over a file, its first axis the sections; indexed as numpy arrays are, with integers, slices and lists.

    Args:
        path: of the file, the folder or the store, for messages.
        source: decodes its voxels.
        anchors: files that must stay what they are while voxels are read; none for a source that looks itself.
    """

    def __init__(self, path: object, source: Source, anchors: Sequence[Path | str] = ()) -> None:
        self.path, self.source = str(path), source
        self.shape, self.dtype, self.chunks = source.shape, np.dtype(source.dtype).newbyteorder("="), source.chunks
        self._anchors = {str(anchor): identity(anchor) for anchor in anchors}

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels, decoded."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.path, self.shape, str(self.dtype), sorted(self._anchors.items()), self.source

    def __getitem__(self, key: Any) -> Array:
        picks = [np.arange(n)[k] for n, k in zip(self.shape, _full(key, self.ndim), strict=True)]
        flat = [np.atleast_1d(pick) for pick in picks]
        if min(pick.size for pick in flat) == 0:
            return np.empty([pick.size for pick, got in zip(flat, picks, strict=True) if got.ndim], self.dtype)
        lows = [int(pick.min()) for pick in flat]
        box = [slice(low, int(pick.max()) + 1) for low, pick in zip(lows, flat, strict=True)]
        block = self._read(tuple(box))
        for axis, (low, pick) in enumerate(zip(lows, flat, strict=True)):
            if pick.size != block.shape[axis] or (pick.size > 1 and pick[0] > pick[-1]):
                block = np.take(block, pick - low, axis)
        dropped: Array = block[tuple(slice(None) if pick.ndim else 0 for pick in picks)]
        return dropped

    def _read(self, box: Window) -> Array:
        """Return a box in native byte order.

        Raises:
            InputError: it cannot be read.
        """
        try:
            block = np.asarray(self.source.read(box), self.dtype)
        except InputError as error:
            self._check_anchors()
            if Path(self.path).name in str(error):
                raise
            raise InputError(f"{self.path}: {error}") from error
        except (Cancelled, MemoryError):
            self._check_anchors()
            raise
        except Exception as error:  # whatever a decoder says of a damaged block
            self._check_anchors()
            raise InputError(f"{self.path}: {self._where(box)} cannot be read: {why(error)}") from error
        # After reading: what vanished while it was read is caught too.
        self._check_anchors()
        return block

    def _check_anchors(self) -> None:
        for anchor, was in self._anchors.items():
            if identity(anchor) != was:
                raise InputError(f"{anchor} was changed by another program while it was read; run again")

    def _where(self, box: Window) -> str:
        """Return the first section of a box that cannot be read."""
        for z in range(box[0].start, box[0].stop):
            try:
                self.source.read((slice(z, z + 1), *box[1:]))
            except Exception:  # noqa: BLE001 - it is the one that is looked for
                return f"section {z}"
        return f"section {box[0].start}"


def _full(key: Any, ndim: int) -> list[Any]:
    """Return what is asked of each axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), None)
    if at is not None:
        keys[at : at + 1] = [slice(None)] * (ndim + 1 - len(keys))
    if len(keys) > ndim:
        raise IndexError(f"{len(keys)} indices for an array of {ndim} axes")
    return keys + [slice(None)] * (ndim - len(keys))
