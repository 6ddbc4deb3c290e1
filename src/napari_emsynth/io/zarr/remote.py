"""A Zarr of a store elsewhere, read with suspicion.

Laws: a chunk that is not there is a fill value only while the array's own metadata are there, and are what they were;
what fails for a moment is tried again; a chunk that says it decodes to more than a chunk holds is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from napari_emsynth.errors import InputError
from napari_emsynth.io.url import Url

# Seconds to wait before what failed is tried once more, and again.
PAUSES_S = (0.5, 2.0)
# A server that says nothing for so long is taken for gone.
SILENCE_S = 60.0
CHUNK_BYTES = 1 << 31
TOO_MANY = 429
NEEDS = 'needs what reads stores elsewhere: pip install "napari-emsynth[remote]"'


class RemoteZarr(FsspecStore):  # type: ignore[misc]
    """A store elsewhere that tells what is missing from what was taken away.

    Args:
        url: of its root.

    Raises:
        InputError: what reads such stores is not installed.
    """

    def __init__(self, url: Url) -> None:
        fs, path = filesystem(url)
        super().__init__(fs, read_only=True, path=path)
        self.url = url
        self.most_bytes = CHUNK_BYTES
        self.missed = False

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return the bytes of a key, None where there is nothing.

        Raises:
            InputError: it is not what a chunk can be.
        """
        from napari_emsynth.io.zarr.store import METADATA_NAMES, check_decoded

        found = await _patiently(super().get, key, prototype, byte_range)
        if key.rpartition("/")[2] in METADATA_NAMES:
            return found
        if found is None:
            self.missed = True
        elif byte_range is None:
            check_decoded(f"{self.url}/{key}", found, self.most_bytes)
        return found if found is None else _cut(found, byte_range)

    def document(self, name: str) -> bytes | None:
        """Return a small file of the store, None where there is none."""
        from zarr.core.buffer import default_buffer_prototype

        found = sync(self.get(name, default_buffer_prototype()))
        return None if found is None else bytes(found.to_bytes())


def _cut(found: Any, asked: Any) -> Any:
    """Return the bytes that were asked for, of a server that gives all it has."""
    if isinstance(asked, RangeByteRequest) and len(found) > asked.end - asked.start:
        return found[asked.start : asked.end]
    if isinstance(asked, SuffixByteRequest) and len(found) > asked.suffix:
        return found[len(found) - asked.suffix :]
    return found


def filesystem(url: Url) -> tuple[Any, str]:
    """Return fsspec's view of a store, for zarr's own event loop, and the path of an address in it.

    Raises:
        InputError: what reads such stores is not installed.
    """
    try:
        from fsspec import url_to_fs

        fs, path = url_to_fs(url.text, asynchronous=True, **_options(url))
    except ImportError as error:
        raise InputError(f"{url} {NEEDS} ({error})") from error
    if not fs.async_impl:
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        fs = AsyncFileSystemWrapper(fs, asynchronous=True)
    return fs, path


def _options(url: Url) -> dict[str, Any]:
    """Return what is said to fsspec; everything else comes from the environment."""
    if not url.text.startswith("http"):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)}}


async def _patiently(get: Any, *args: Any) -> Any:
    """Ask again after a while where an answer failed to come."""
    for pause in PAUSES_S:
        try:
            return await get(*args)
        except Exception as error:
            if not _is_momentary(error):
                raise
        await asyncio.sleep(pause)
    return await get(*args)


def _is_momentary(error: Exception) -> bool:
    """Return whether a server may answer otherwise in a moment."""
    status = getattr(error, "status", None)
    if status is not None:
        return bool(status >= 500 or status == TOO_MANY)
    if isinstance(error, PermissionError | FileNotFoundError):
        return False
    return isinstance(error, OSError | TimeoutError) or type(error).__module__.startswith("aiohttp")
