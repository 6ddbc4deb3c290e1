"""Neuroglancer's precomputed volumes and N5, on a disk or elsewhere, by way of TensorStore.

Conventions: both keep their axes as x, y, z and, after them, a channel; a level is a scale of the first, a dataset
``s0``, ``s1`` ... of the second. Law: what states no unit has an unknown voxel size.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Triple
from napari_emsynth.io.choice import Choice
from napari_emsynth.io.stored import Stored, Window, opening
from napari_emsynth.io.units import nm_per, number, plausible
from napari_emsynth.io.url import Kind, Location, Url, stem_of
from napari_emsynth.volume import Array, Volume, canonical

# The file by which each is known.
KNOWN_BY: dict[str, Kind] = {"info": "precomputed", "attributes.json": "n5"}
# What the file says of itself.
SAYS: dict[Kind, set[str]] = {"precomputed": {"scales"}, "n5": {"n5", "dimensions", "multiScale"}}
DRIVERS: dict[Kind, str] = {"precomputed": "neuroglancer_precomputed", "n5": "n5"}
NEEDS = 'needs TensorStore: pip install "napari-emsynth[remote]"'
# Chunks that were decoded last are kept, up to so many bytes.
CACHE_BYTES = 1 << 28
AXES = "xyz"


def kind_of(place: Location) -> Kind | None:
    """Return which of the two a folder is, None for neither."""
    if isinstance(place, Url) and place.kind in DRIVERS:
        return place.kind
    for name, kind in KNOWN_BY.items():
        with contextlib.suppress(InputError, ValueError):
            if SAYS[kind] & set(_json(place, name)):
                return kind
    return None


def read_tensor(place: Location, choice: Choice) -> Volume:
    """Read a precomputed volume or an N5.

    Raises:
        ChoiceError: several channels, and none is chosen.
        InputError: neither, damaged, not one grey volume, or TensorStore is not installed.
    """
    kind = kind_of(place)
    if kind is None:
        raise InputError(f"{place} is neither a precomputed volume nor an N5: no info, no attributes.json")
    with opening(place, kind):
        return _precomputed(place, choice) if kind == "precomputed" else _n5(place, choice)


def _precomputed(place: Location, choice: Choice) -> Volume:
    info = _json(place, "info")
    scales = info["scales"]
    level = choice.pick(place, "level", [str(scale["key"]) for scale in scales])
    scale = scales[level]
    x, y, z = (float(n) for n in scale["resolution"])
    corner = [float(n) for n in scale.get("voxel_offset", (0, 0, 0))]
    origin = (corner[2] * z, corner[1] * y, corner[0] * x)
    channel = choice.pick(place, "channel", [""] * int(info.get("num_channels", 1)))
    spec = {"driver": DRIVERS["precomputed"], "scale_index": level}
    return _volume(place, spec, channel, plausible((z, y, x)), origin, labels=info.get("type") == "segmentation")


def _n5(place: Location, choice: Choice) -> Volume:
    """Return a dataset, or a level of a pyramid of datasets."""
    said = _json(place, "attributes.json")
    inner: Location = place
    level = 0
    if "dimensions" not in said:
        found = 0
        while document(place, f"s{found}/attributes.json") is not None:
            found += 1
        if not found:
            raise InputError("it holds no dataset s0; name one inside it")
        level = choice.pick(place, "level", [f"s{n}" for n in range(found)])
        inner = place / f"s{level}"
    else:
        choice.pick(place, "level", ["s0"])
    own = _json(inner, "attributes.json")
    axes = len(own["dimensions"])
    if axes not in (3, 4):
        raise InputError(f"it has {axes} axes, needs 3: x, y, z, or a channel beside them")
    channel = choice.pick(place, "channel", [""] * (int(own["dimensions"][3]) if axes == 4 else 1))
    return _volume(inner, {"driver": DRIVERS["n5"]}, channel, _n5_size(said, own, level), (0.0, 0.0, 0.0), named=place)


def _n5_size(group: Mapping[str, Any], own: Mapping[str, Any], level: int) -> Triple | None:
    """Return the voxel size that an N5 states, in one of the ways that are about; None where none has a unit."""
    for said, factors in ((own, (1, 1, 1)), (group, _factors(group, own, level))):
        pixel = said.get("pixelResolution")
        sizes = pixel.get("dimensions") if isinstance(pixel, Mapping) else said.get("resolution")
        units = [pixel.get("unit")] * 3 if isinstance(pixel, Mapping) else said.get("units")
        if isinstance(sizes, list) and isinstance(units, list) and len(sizes) >= 3 <= len(units):
            found = [
                None if (n := number(size)) is None or (nm := nm_per(unit)) is None else n * nm * factor
                for size, unit, factor in zip(sizes[:3], units[:3], factors, strict=True)
            ]
            if (size := plausible(found[::-1])) is not None:
                return size
    return None


def _factors(group: Mapping[str, Any], own: Mapping[str, Any], level: int) -> Sequence[float]:
    """Return how many voxels of the finest level make one of this, along x, y, z."""
    listed = group.get("scales")
    factors = listed[level] if isinstance(listed, list) and level < len(listed) else own.get("downsamplingFactors")
    return [float(n) for n in factors[:3]] if isinstance(factors, list) and len(factors) >= 3 else [1.0, 1.0, 1.0]


def _volume(
    place: Location,
    spec: Mapping[str, Any],
    channel: int,
    voxel_nm: Triple | None,
    origin_nm: Triple,
    *,
    labels: bool = False,
    named: Location | None = None,
) -> Volume:
    source = TensorArray({**spec, "kvstore": kvstore(place)}, channel)
    z, y, x = source.shape
    grid = Grid(shape=(z, y, x), voxel_nm=voxel_nm, origin_nm=origin_nm)
    shown = named or place
    data = Stored(str(shown), source)
    return Volume(data, grid, stem_of(shown), {"path": str(shown), "notices": ()}, labels=labels)


class TensorArray:
    """The :class:`napari_emsynth.io.stored.Source` of an array that TensorStore opens, its axes x, y, z, channel.

    Args:
        spec: TensorStore's own.
        channel: index along the fourth axis, where there is one.
    """

    def __init__(self, spec: Mapping[str, Any], channel: int) -> None:
        ts = _tensorstore()
        self._asked = (dict(spec), channel)
        context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
        self._array = ts.open(dict(spec), open=True, read=True, context=context).result()
        domain = self._array.domain
        self._corner = tuple(int(n) for n in domain.inclusive_min[:3])
        x, y, z = (int(n) for n in domain.shape[:3])
        self.shape = (z, y, x)
        cut = self._array.chunk_layout.read_chunk.shape or (64, 64, 64)
        self.chunks = tuple(min(int(n), length) for n, length in zip(cut[:3][::-1], self.shape, strict=True))
        self.dtype = canonical(self._array.dtype.numpy_dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self._asked)

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, json.dumps(self._asked, sort_keys=True)

    def read(self, box: Window) -> Array:
        """Return a box."""
        key: list[Any] = [
            slice(cut.start + low, cut.stop + low) for cut, low in zip(box[::-1], self._corner, strict=True)
        ]
        if self._array.ndim == 4:
            key.append(self._asked[1])
        found: Array = np.asarray(self._array[tuple(key)].read().result()).transpose()
        return found


# ------------------------------------------------------------------------------------- TensorStore's words


def kvstore(place: Location) -> Any:
    """Return what TensorStore calls a folder; an S3 server of one's own is taken from the environment."""
    if isinstance(place, Path):
        return {"driver": "file", "path": f"{place.resolve()}/"}
    own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if place.text.startswith("s3://") and own:
        bucket, _, path = place.text.removeprefix("s3://").partition("/")
        return {"driver": "s3", "bucket": bucket, "path": f"{path}/", "endpoint": own}
    return f"{place.text}/"


def document(place: Location, name: str) -> bytes | None:
    """Return a small file of a folder, None where there is none.

    Raises:
        InputError: the folder cannot be asked.
    """
    if isinstance(place, Path):
        file = place / name
        return file.read_bytes() if file.is_file() else None
    ts = _tensorstore()
    try:
        found = ts.KvStore.open(kvstore(place)).result().read(name).result()
    except (ValueError, OSError) as error:
        raise InputError(f"{place} cannot be reached: {' '.join(str(error).split())[:200]}") from error
    return bytes(found.value) if found.state == "value" else None


def _json(place: Location, name: str) -> Mapping[str, Any]:
    found = document(place, name)
    if found is None:
        raise InputError(f"{place} has no {name}")
    said = json.loads(found)
    if not isinstance(said, dict):
        raise InputError(f"{name} holds no object")
    return said


def _tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError:
        raise InputError(NEEDS) from None
    return tensorstore
