"""A stack moved by displacements that were found before, alone or before an alignment; and what is known of it.

Conventions: a stack that is moved here is drawn block by block as it is read, and memory does not grow with it.

Laws: what was moved twice is drawn once, from the voxels that were acquired, through both fields in one; marks of
earlier steps move along, and a voxel that a marked one has a share in is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.chain import Carry, chained
from napari_emsynth.fields.algebra import compose
from napari_emsynth.fields.apply import by, carrying, check_fits, moved, nothing_made, outside
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.export import lazily
from napari_emsynth.io.fields import field_of
from napari_emsynth.spec import Result
from napari_emsynth.trust import provenance
from napari_emsynth.trust.validity import stated
from napari_emsynth.volume import Known, Volume

# What a record calls a stack that was moved by a field which was there already.
METHOD = "displacement-field"


def through(volume: Volume, field: Displacement, *, name: str = "", found: Mapping[str, Any] | None = None) -> Result:
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
    source = stated(lazily(volume), range(volume.shape[0]))
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
    result = Result(
        volume=moved(source, field, "cubic"), synthetic=outside(field, source), provenance=record, displacement=field
    )
    return finished(result, volume)


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


def finished(result: Result, source: Volume, limit_nm: float | None = None) -> Result:
    """Return the result of an alignment with what was known of the stack taken along.

    A stack that was only moved before is drawn anew from what it was then, through both fields in one.

    Args:
        result: of the alignment alone.
        source: the stack that was aligned.
        limit_nm: nothing is moved further than this by both together; None for no limit.

    Raises:
        InputError: a limit without a voxel size.
    """
    source = stated(source, range(source.shape[0]))
    if result.displacement is None:
        return chained(result, source, Carry(marks=lambda marks: marks))
    known, field, origin = source.known, field_of(result), source
    if known is not None and known.moved is not None:
        origin, earlier = known.moved
        origin = stated(origin, range(origin.shape[0]))
        field = compose(earlier, field).of_voxels(origin.grid.voxel_nm)
        field = field if limit_nm is None else field.limited(limit_nm)
        result = _drawn_once(result, origin, field, earlier)
        origin = replace(origin, known=replace(origin.known or Known(), record=known.record))
    empty = result.synthetic
    result = replace(result, synthetic=nothing_made(empty, result.volume.name), empty=empty)
    result = chained(result, origin, carrying(field))
    assert result.volume.known is not None
    told = replace(result.volume.known, moved=(origin, field))
    volume = replace(result.volume, grid=source.grid, name=source.name, known=told)
    return by(replace(result, volume=volume), field)


def _drawn_once(result: Result, origin: Volume, field: Displacement, earlier: Displacement) -> Result:
    return replace(
        result,
        volume=moved(origin, field, "cubic"),
        synthetic=outside(field, origin),
        displacement=field,
        provenance={**result.provenance, "upon": {"sections": sections_moved(earlier)}},
    )
