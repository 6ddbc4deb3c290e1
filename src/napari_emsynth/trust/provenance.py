"""The record that travels with every result: what was made, by what, from what.

Laws: a record is plain JSON (objects, arrays, strings, finite numbers, booleans, null) and equals itself
after a round trip; it names no machine and no user. Keys of a record:

* ``software``, ``version``: this package; ``created``: UTC, ISO 8601;
* ``task``, ``method``: what was asked for, and by which method;
* ``weights``: ``{"id", "sha256"}`` or null; ``params``: the method's parameters; ``seed``: of random numbers;
* ``source``: see :class:`Source`; ``sections``: one entry a treated section: its index in the result, and how it was
  made;
* ``notices``: lines the user was told.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.grid import Triple
from napari_emsynth.volume import Volume

DISTRIBUTION = "napari-emsynth"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a result was made from.

    Args:
        name: the layer's or the file's name, without its folder.
        shape: sections, rows, columns.
        dtype: of the voxels.
        voxel_nm: voxel size (z, y, x) in nm, or None when unknown.
        origin_nm: centre of voxel (0, 0, 0) in nm.
        bytes: size of the file; None for a folder or an array.
        modified: when the file was last changed, UTC, ISO 8601; None for an array.
        chosen: which series, channel, time or level of the file, where one was chosen.
        notices: what the user was told of how the file was read.
    """

    name: str
    shape: tuple[int, int, int]
    dtype: str
    voxel_nm: Triple | None = None
    origin_nm: Triple = (0.0, 0.0, 0.0)
    bytes: int | None = None
    modified: str | None = None
    chosen: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, volume: Volume) -> Source:
        """Describe a volume, and its file when ``metadata["path"]`` names one; reads no voxel."""
        said = volume.metadata.get("path")
        path = Path(str(said).rstrip("/")) if said else None
        status = path.stat() if path is not None and "://" not in str(said) and path.exists() else None
        return cls(
            name=path.name if path is not None else volume.name,
            shape=volume.shape,
            dtype=str(volume.dtype),
            voxel_nm=volume.grid.voxel_nm,
            origin_nm=volume.grid.origin_nm,
            bytes=status.st_size if status is not None and path is not None and path.is_file() else None,
            modified=_iso(datetime.fromtimestamp(status.st_mtime, UTC)) if status is not None else None,
            chosen=volume.metadata.get("chosen", {}),
            notices=tuple(volume.metadata.get("notices", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {name: jsonable(value) for name, value in dataclasses.asdict(self).items()}


def record(
    *,
    task: str,
    method: str,
    weights: Mapping[str, Any] | None,
    params: Any,
    seed: int,
    source: Source | Mapping[str, Any],
    sections: Iterable[Mapping[str, Any]],
    notices: Iterable[str],
    **more: Any,
) -> dict[str, Any]:
    """Return the provenance of one result as a JSON object; the module says what its keys mean.

    Args:
        task: what was asked for.
        method: id of the method.
        weights: what it used, or None.
        params: its parameters, an object with ``to_json`` or a mapping.
        seed: of every random number.
        source: what it was made from.
        sections: what was done to which section.
        notices: lines the user was told.
        **more: further keys, JSON-able.

    Raises:
        TypeError: a value that JSON cannot hold; the message names its key.
    """
    fields: dict[str, Any] = {
        "software": DISTRIBUTION,
        "version": package_version(),
        "created": _iso(datetime.now(UTC)),
        "task": task,
        "method": method,
        "weights": weights,
        "params": params,
        "seed": seed,
        "source": source,
        "sections": list(sections),
        "notices": list(notices),
    }
    return {key: jsonable(value, key) for key, value in {**fields, **more}.items()}


def package_version() -> str:
    """Return the installed version, or "unknown" when the package runs from a bare source tree."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def jsonable(value: Any, where: str = "value") -> Any:
    """Return ``value`` in JSON's types: numpy numbers, tuples, paths and dataclasses are turned.

    Numbers that are not finite become null: JSON has no NaN.

    Raises:
        TypeError: JSON cannot hold it; the message says ``where``.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bool, int)):
        return value
    if hasattr(value, "to_json"):
        return jsonable(value.to_json(), where)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [jsonable(item, f"{where}[{i}]") for i, item in enumerate(items)]
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist(), where)
    if isinstance(value, (Path, np.dtype)):
        return str(value)
    raise TypeError(f"{where} holds a {type(value).__name__}, which JSON cannot hold")


def _iso(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
