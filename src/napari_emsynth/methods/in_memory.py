"""Volumes made lazy, and lazy results computed into memory: all of them, or only the sections that were drawn.

Laws: what shares its computation is computed together, once; it can be cancelled between two blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.chain import overlaid, with_known
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.trust.remembered import shows
from napari_emsynth.volume import Volume

# Parts of a result whose blocks are drawn at once.
DRAWN_TOGETHER = ("volume", "uncertainty", "prior", "residual")
# Parts that are sections of the result's own grid.
SECTIONED = ("volume", "synthetic", "uncertainty", "empty")


def by_section(volume: Volume) -> Volume:
    """Return the volume on a dask array, one section a chunk; what is remembered of it holds for both."""
    import dask.array as da

    if hasattr(volume.data, "dask"):
        return volume
    data = da.from_array(volume.data, chunks=(1, *volume.shape[1:]), name=False)
    if isinstance(volume.data, np.ndarray):
        shows(data, volume)
    return replace(volume, data=data)


def in_memory(result: Result, runtime: Runtime) -> Result:
    """Compute a lazy result, its masks and what else is known of it, block by block.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    import dask
    from dask.array.core import slices_from_chunks

    named = ((name, getattr(result, name)) for name in DRAWN_TOGETHER)
    parts = {name: part for name, part in named if part is not None and part.is_lazy}
    values: dict[str, Any] = {name: np.empty(part.shape, part.dtype) for name, part in parts.items()}
    # Pixels may differ in size, blocks are the same.
    blocks = list(zip(*(slices_from_chunks(part.data.chunks) for part in parts.values()), strict=True))
    for done, block in enumerate(blocks):
        runtime.cancel.check()
        runtime.progress(done, len(blocks), "blocks")
        # Together: what they share is computed once.
        lazily = [part.data[box] for part, box in zip(parts.values(), block, strict=True)]
        drawn = dask.compute(*lazily, scheduler="synchronous")
        for name, box, voxels in zip(parts, block, drawn, strict=True):
            values[name][box] = voxels
    masks = {"synthetic": result.synthetic, "empty": result.empty}
    values |= {name: part.read(slice(None)) for name, part in masks.items() if part is not None}
    computed = {name: replace(getattr(result, name), data=data) for name, data in values.items()}
    return with_known(replace(result, **computed))


def sections_in_memory(result: Result, sections: Iterable[int], runtime: Runtime) -> Result:
    """Compute some sections of a lazy result and keep them; the others stay in their store.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    import dask

    parts = {name: part for name in SECTIONED if (part := getattr(result, name)) is not None}
    kept: dict[str, dict[int, Any]] = {name: {} for name in parts}
    wanted = sorted(set(sections))
    for done, z in enumerate(wanted, start=1):
        runtime.cancel.check()
        # Together: they share one run of the method.
        drawn = dask.compute(*(part.data[z] for part in parts.values()), scheduler="synchronous")
        for name, section in zip(parts, drawn, strict=True):
            kept[name][z] = section
        runtime.progress(done, len(wanted), "sections")
    computed = {name: replace(part, data=overlaid(part.data, kept[name])) for name, part in parts.items()}
    return with_known(replace(result, **computed))
