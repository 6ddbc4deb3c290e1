"""A stack moved by displacements that were found before, alone or before an alignment.

Conventions: everything here is lazy: a moved volume is drawn block by block as it is written, and memory does not grow
with it.

Law: what was moved twice is drawn once, from the voxels that were acquired, through both fields in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.fields.algebra import compose
from napari_emsynth.fields.apply import check_fits, moved, outside
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.export import lazily
from napari_emsynth.io.field import field_of
from napari_emsynth.spec import Result
from napari_emsynth.trust import provenance
from napari_emsynth.volume import Volume

# What a record calls a stack that was moved by a field which was there already.
METHOD = "displacement-field"


def through(
    volume: Volume, field: Displacement, *, name: str = "", found: Mapping[str, Any] | None = None
) -> Result:
    """Return a volume moved by a field that was found before.

    Args:
        volume: [z, y, x] an image; it is drawn by the cubic spline.
        field: of its shape.
        name: of the field's file.
        found: the field's own record.

    Raises:
        InputError: a field of another shape.
    """
    check_fits(field, volume)
    source = lazily(volume)
    record = provenance.record(
        task="align",
        method=METHOD,
        weights=None,
        params={},
        seed=0,
        source=provenance.Source.of(volume),
        sections=sections_moved(field),
        notices=[f"moved by the displacements in {name}"] if name else [],
        selfcheck=None,
        field={"file": name, "record": None if found is None else dict(found)},
    )
    return Result(
        volume=moved(source, field, "cubic"),
        synthetic=outside(field, source),
        provenance=record,
        displacement=field,
    )


def sections_moved(field: Displacement) -> list[dict[str, Any]]:
    """Return what a record says of every section that a field moves or keeps."""
    entries = []
    for z in range(field.shape[0]):
        mean = field.section(z).mean(axis=(1, 2), dtype=np.float64)
        furthest = float(field.magnitude(z).max())
        entries.append(
            {
                "section": z,
                "treatment": "moved" if furthest else "kept",
                "shift_px": [round(float(s), 3) for s in mean],
                "max_px": round(furthest, 3),
            }
        )
    return entries


def upon(volume: Volume, earlier: Displacement, result: Result, limit_nm: float | None = None) -> Result:
    """Return an alignment of a volume that had been moved by ``earlier``, drawn from the volume in one go.

    Args:
        volume: [z, y, x] before anything was moved.
        earlier: moved it first.
        result: the alignment of what came out.
        limit_nm: nothing is moved further than this by both together; None for no limit.

    Raises:
        InputError: the alignment has no field; a limit without a voxel size.
    """
    both = compose(earlier, field_of(result)).of_voxels(volume.grid.voxel_nm)
    both = both if limit_nm is None else both.limited(limit_nm)
    once = through(volume, both)
    record = {**result.provenance, "upon": {"sections": sections_moved(earlier)}}
    return replace(once, provenance=record, confidence=result.confidence)


def marked(result: Result, earlier: Volume | None) -> Result:
    """Return a result whose mask also holds what was made up in its source, moved along.

    Args:
        result: of an alignment.
        earlier: [z, y, x] mask of what was made up before; None for nothing.

    Raises:
        InputError: a mask of another shape.
    """
    if earlier is None:
        return result
    import dask.array as da

    before = moved(lazily(earlier), field_of(result), "nearest")
    masks = [da.asarray(part.data) for part in (result.synthetic, before)]
    both = da.maximum(masks[0], (masks[1] != 0).astype(np.uint8).rechunk(masks[0].chunks))
    return replace(result, synthetic=replace(result.synthetic, data=both))
