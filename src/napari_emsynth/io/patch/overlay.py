"""A volume with a patch laid over it, and nothing written: lazily, whatever the volume is.

Law: what is seen is what putting the patch into the volume would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.chain import overlaid
from napari_emsynth.io.content import MARKS
from napari_emsynth.io.patch.patch import Patch
from napari_emsynth.volume import Known, Volume


def patched(volume: Volume, patch: Patch) -> Volume:
    """Return a volume with a patch laid over it.

    Args:
        volume: [z, y, x] of the patch's grid and type; lazy or in memory.
        patch: what changed.

    Returns:
        The volume, lazy: a section is read when it is asked for; ``known`` has the patch's marks and record.

    Raises:
        InputError: the patch is of another volume.
    """
    patch.check_fits(volume, volume.name or "the volume")
    known = volume.known or Known()
    marks: dict[str, Any] = {name: known.marks.get(name) for name in MARKS}
    for name in patch.marks:
        below = _lazy(_zeros(volume, name) if marks[name] is None else marks[name])
        marks[name] = _laid(below, patch, name)
    record = chained_record(patch, known.record)
    known = Known(record=record, **{name: array for name, array in marks.items() if array is not None})
    return replace(volume, data=_laid(_lazy(volume.data), patch, "new"), known=known)


def chained_record(patch: Patch, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the record of a volume with a patch in it.

    Args:
        patch: what is put in.
        before: the volume's record.
    """
    own = {key: said for key, said in patch.record.items() if key != "previous"}
    return {**own, "patch": patch.id, **({"previous": dict(before)} if before else {})}


def _zeros(volume: Volume, name: str) -> Any:
    import dask.array as da

    dtype = np.float32 if name == "uncertainty" else np.uint8
    return da.zeros(volume.shape, dtype=dtype, chunks=(1, *volume.shape[1:]))


def _lazy(data: Any) -> Any:
    import dask.array as da

    if hasattr(data, "dask"):
        return data
    chunks = getattr(data, "chunks", None)
    return da.from_array(data, chunks=chunks if chunks is not None else (1, *data.shape[1:]), name=False)


def _laid(below: Any, patch: Patch, name: str) -> Any:
    """Return an array with the pieces of a patch in it."""
    import dask.array as da

    sections: dict[int, Any] = {}
    for box, arrays in zip(patch.boxes, patch.arrays, strict=True):
        piece = _lazy(arrays[name]).astype(below.dtype)
        for k, z in enumerate(range(box[0].start, box[0].stop)):
            section = sections.get(z, below[z])
            sections[z] = da.block([
                [section[: box[1].start]],
                [da.concatenate(
                    [section[box[1], : box[2].start], piece[k], section[box[1], box[2].stop :]], axis=1
                )],
                [section[box[1].stop :]],
            ])  # fmt: skip
    return overlaid(below, sections) if sections else below
