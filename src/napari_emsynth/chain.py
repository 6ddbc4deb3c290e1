"""What earlier steps left behind, taken along onto the grid of the next one.

A task says how marks on its input's grid lie on its result's (:class:`Carry`), and hands its result to :func:`chained`.

Laws: a voxel that is marked synthetic stays marked, wherever the task puts it, unless it is empty there; what this step
made up has this step's error estimate, what an earlier one did keeps that one's; a voxel is empty only where everything
it was made from is; the record of the step before is the key ``previous`` of this one's; marks are lazy where the
result is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_emsynth.spec import Result
from napari_emsynth.volume import Known, Volume

Map = Callable[[Any], Any]
"""Marks [z, y, x] on the input's grid, numpy or dask, to the result's, of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Carry:
    """How a task takes marks along.

    Args:
        marks: of synthetic voxels, and error estimates: 0 in what the task draws anew.
        empty: of empty voxels; gets the mask of what the task made up, too. None where they lie as the marks do.
        draws: False of a task that makes up nothing, and so has no error estimate of its own.
    """

    marks: Map
    empty: Callable[[Any, Any], Any] | None = None
    draws: bool = True


def chained(result: Result, source: Volume, carry: Carry) -> Result:
    """Return a result with what was known of its source taken along, and all that in what is known of its volume.

    Args:
        result: of one task, which says only what that task did.
        source: the volume it was asked of.
        carry: how the task takes marks along.
    """
    known = source.known or Known()
    made = result.synthetic.data
    synthetic, empty, uncertainty = result.synthetic, result.empty, result.uncertainty
    if known.synthetic is not None:
        earlier = carry.marks(mask(known.synthetic, made))
        synthetic = replace(synthetic, data=union(made, earlier))
    if known.empty is not None:
        earlier = mask(known.empty, made)
        earlier = carry.marks(earlier) if carry.empty is None else carry.empty(earlier, made)
        empty = _part(result, "empty", earlier if empty is None else union(empty.data, earlier))
    if empty is not None:
        shown = 1 - like(empty.data, made).astype(np.uint8)
        synthetic = replace(synthetic, data=library(made).minimum(synthetic.data, _cut(shown, made)))
    if known.uncertainty is not None and (result.uncertainty is not None or not carry.draws):
        earlier = carry.marks(like(known.uncertainty, made))
        own = earlier if result.uncertainty is None else result.uncertainty.data
        width = where(made, own, earlier) if carry.draws else earlier
        uncertainty = _part(result, "uncertainty", width)
    record = {**result.provenance} | ({"previous": dict(known.record)} if known.record else {})
    return with_known(replace(result, provenance=record, synthetic=synthetic, empty=empty, uncertainty=uncertainty))


def with_known(result: Result) -> Result:
    """Return a result whose volume knows what the result says of it."""
    synthetic, empty, uncertainty = (
        None if part is None else part.data for part in (result.synthetic, result.empty, result.uncertainty)
    )
    moved = None if result.volume.known is None else result.volume.known.moved
    known = Known(record=result.provenance, synthetic=synthetic, empty=empty, uncertainty=uncertainty, moved=moved)
    return replace(result, volume=replace(result.volume, known=known))


def _part(result: Result, name: str, data: Any) -> Volume:
    return Volume(data, result.synthetic.grid, f"{result.volume.name} {name}")


# ------------------------------------------------------------------------- marks, now or later


def like(marks: Any, other: Any) -> Any:
    """Return marks in memory where ``other`` is, else as a dask array."""
    if isinstance(other, np.ndarray):
        return Volume.of(marks).read(slice(None))
    import dask.array as da

    return marks if hasattr(marks, "dask") else da.from_array(marks, chunks=(1, *marks.shape[1:]), name=False)


def mask(marks: Any, other: Any) -> Any:
    """Return a mask of any making, see :func:`marked`, as 0 and 1; in memory where ``other`` is."""
    return marked(like(marks, other)).astype(np.uint8)


def marked(marks: Any) -> Any:
    """Return where a mask is set: any number but zero; what is no number (NaN) marks nothing."""
    anything = marks != 0
    return anything & (marks == marks) if marks.dtype.kind == "f" else anything  # NaN is not itself


def library(marks: Any) -> Any:
    """Return the module whose functions take such marks: numpy or dask.array."""
    if isinstance(marks, np.ndarray):
        return np
    import dask.array as da

    return da


def union(a: Any, b: Any) -> Any:
    """Return where either of two masks is set."""
    return library(a).maximum(a, _cut(b.astype(a.dtype), a))


def where(made: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where a mask is set, else ``no``."""
    return library(made).where(made != 0, _cut(yes, made), _cut(no, made))


def _cut(marks: Any, other: Any) -> Any:
    """Return dask marks in the blocks of others, which keeps graphs small."""
    return marks.rechunk(other.chunks) if hasattr(marks, "dask") and marks.chunks != other.chunks else marks


def gathered(marks: Any, sources: Sequence[int | None]) -> Any:
    """Return marks whose section k is that of ``sources[k]``; None gives a section without any."""
    xp = library(marks)
    nothing = xp.zeros((1, *marks.shape[1:]), dtype=marks.dtype)
    pieces: list[Any] = []
    k = 0
    while k < len(sources):
        z = sources[k]
        stop = k + 1
        if z is not None:
            # Runs pass through whole: one piece a section would make large graphs of tall stacks.
            while stop < len(sources) and sources[stop] == z + stop - k:
                stop += 1
        pieces.append(nothing if z is None else marks[z : z + stop - k])
        k = stop
    return xp.concatenate(pieces, axis=0)


def overlaid(marks: Any, sections: Mapping[int, Any]) -> Any:
    """Return an array [z, y, x] with some of its sections exchanged for others [y, x]."""
    xp = library(marks)
    pieces: list[Any] = []
    start = 0
    for z in sorted(sections):
        pieces += [marks[start:z], xp.asarray(sections[z])[None]]
        start = z + 1
    return xp.concatenate([piece for piece in (*pieces, marks[start:]) if piece.shape[0]], axis=0)


def between(empty: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    """Return marks whose section k is set where both of ``pairs[k]`` are: where one is empty the other serves."""
    below, above = (gathered(empty, [pair[side] for pair in pairs]) for side in (0, 1))
    return library(empty).minimum(below, above)


def enlarged(marks: Any, factor: int) -> Any:
    """Return marks with every pixel as ``factor`` x ``factor`` of them."""
    xp = library(marks)
    return xp.repeat(xp.repeat(marks, factor, axis=1), factor, axis=2)


def made_up(volume: Volume, section: int) -> float:
    """Return which share of a section earlier steps made up, 0 to 1."""
    if volume.known is None or volume.known.synthetic is None:
        return 0.0
    return float(marked(Volume.of(volume.known.synthetic).section(section)).mean())
