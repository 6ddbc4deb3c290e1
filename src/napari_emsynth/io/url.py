"""Where a volume lies: a path of this machine, or an address of a store elsewhere.

Conventions: ``https://``, ``s3://``, ``gs://`` and ``memory://`` are stores; ``file://`` is a path. In front of either
may stand what is there, as Neuroglancer writes it: ``zarr://``, ``n5://``, ``precomputed://``.

Law: an address holds no secret: one with a password or a query is refused, and credentials come from the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from napari_emsynth.errors import InputError

SCHEMES = ("http", "https", "s3", "gs", "memory")
Kind = Literal["zarr", "n5", "precomputed"]
KINDS: tuple[Kind, ...] = ("zarr", "n5", "precomputed")


@dataclass(frozen=True)
class Url:
    """The address of a folder of a store.

    Args:
        text: of it, without a slash at the end.
        kind: what is there, where that is said.

    Raises:
        InputError: an unknown scheme, no name of a server or bucket, a password, a query.
    """

    text: str
    kind: Kind | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.text)
        if parts.scheme not in SCHEMES:
            raise InputError(f"{parts.scheme}:// is no store that can be read; known: {', '.join(SCHEMES)}, file")
        if not parts.netloc:
            raise InputError(f"{self.text} names no server or bucket")
        if "@" in parts.netloc or parts.query or parts.fragment:
            shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
            raise InputError(
                f"{shown}: an address must hold neither a password nor a query; credentials come from the environment"
            )
        object.__setattr__(self, "text", self.text.rstrip("/"))

    @property
    def name(self) -> str:
        """The last part of it."""
        return PurePosixPath(urlsplit(self.text).path).name or urlsplit(self.text).netloc

    @property
    def suffix(self) -> str:
        """What follows the last point of its name."""
        return PurePosixPath(self.name).suffix

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}", self.kind)

    def __str__(self) -> str:
        return self.text


Location = Path | Url


def location(place: Any) -> Location:
    """Return where a text, a path or an address leads.

    Raises:
        InputError: an empty name, an address that cannot be one.
    """
    if isinstance(place, Url):
        return place
    text = os.fspath(place)
    if isinstance(place, Path):
        scheme, colon, rest = text.partition(":/")
        if not colon or scheme not in (*SCHEMES, *KINDS, "file"):
            return place
        text = f"{scheme}://{rest}"  # a path keeps no two slashes
    if not text.strip():
        raise InputError("no file is named: the name is empty")
    kind = next((kind for kind in KINDS if text.startswith((f"{kind}://", f"{kind}:"))), None)
    if kind is not None:
        text = text.removeprefix(f"{kind}:").removeprefix("//")
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return Url(text, kind) if "://" in text else Path(text)


def stem_of(place: Location) -> str:
    """Return a name without its suffix, .ome. included."""
    return place.name.removesuffix(place.suffix).removesuffix(".ome")


def here(place: Any) -> Path:
    """Return where something is written.

    Raises:
        InputError: to a store elsewhere.
    """
    found = location("" if place == Path() else place)  # what a command makes of an empty name
    if isinstance(found, Url):
        raise InputError(f"cannot write {found}: what is written goes to a disk, and is copied from there")
    return found


def check_there(path: Path) -> None:
    """Refuse a path where nothing is.

    Raises:
        InputError: nothing is, or it is a link that leads nowhere.
    """
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a broken link: it leads to {path.readlink()}, which is not there")
    if not path.exists():
        raise InputError(f"{path} does not exist")
