"""A whole volume made anew; free of Qt and napari, for a worker thread.

Laws: a run in memory is refused before it starts when the result has no room; one into a file holds a block at a time,
and goes on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_emsynth.plugin.restore.request import lazy
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.volume_task.target import Target
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.volume import Volume

# Parts of a result whose blocks are drawn at once.
DRAWN_TOGETHER = ("volume", "uncertainty", "prior", "residual")
# Multiples of a fractional factor this close to a whole number are that section.
WHOLE = 1e-6


@dataclass(frozen=True, kw_only=True)
class VolumeOutcome:
    """A finished run.

    Args:
        settings: what was asked for.
        result: what came of it.
        source: the voxels it was drawn from; None where nobody will ask.
        previous: what was known of the layer it was asked of.
        path: the file the result lies in; None in memory.
    """

    settings: VolumeSettings
    result: Result
    source: Volume | None = None
    previous: Previous | None = None
    path: Path | None = None

    @property
    def notices(self) -> list[str]:
        """What the user must be told."""
        return list(self.result.provenance.get("notices", []))

    @property
    def selfcheck(self) -> dict[str, Any] | None:
        """The figures of the self-check, None when there was none."""
        return self.result.provenance.get("selfcheck")


@dataclass(frozen=True, kw_only=True)
class Previous:
    """What is known of a layer that is itself a result: its mask [z, y, x], None when it is gone, and its record."""

    synthetic: Any
    provenance: dict[str, Any]

    @property
    def draws(self) -> bool:
        """True when :meth:`under` draws the result itself: what the task would draw is not needed."""
        return False

    def source(self, volume: Volume) -> Volume:
        """Return the voxels that a result upon this one is drawn from."""
        return volume

    def under(self, result: Result, settings: VolumeSettings) -> Result:
        """Return the result with what was made up before marked too, and the earlier record kept."""
        record = {**result.provenance, "previous": self.provenance}
        if (
            self.synthetic is None or settings.pixel_scale != 1
        ):  # smaller pixels are made up, every one of them
            return replace(result, provenance=record)
        both = marked(result.synthetic.data, self.synthetic, settings.section_scale)
        return replace(result, provenance=record, synthetic=replace(result.synthetic, data=both))


NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


def run(
    volume: Volume,
    settings: VolumeSettings,
    runtime: Runtime,
    previous: Previous | None = None,
    more: Mapping[str, Any] = NOTHING_MORE,
    target: Target | None = None,
) -> VolumeOutcome:
    """Do a task on a volume.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else it is computed.
        settings: what and how.
        runtime: device, progress, cancel.
        previous: what is known of the volume if it is a result.
        more: keyword arguments of the task's function that come from other layers.
        target: the file the result goes into; None for memory.

    Raises:
        InputError: bad input, or no room for the result.
        Cancelled: the runtime's token was cancelled.
    """
    if not settings.lazy and target is None:
        check_room(volume, settings)
    block_by_block = settings.lazy or target is not None or (previous is not None and previous.draws)
    result = task_function(settings)(
        lazy(volume) if block_by_block else volume,
        **settings.options(volume.shape[0]),
        **more,
        **({"method": settings.method} if settings.method else {}),
        weights=settings.weights or None,
        params=dict(settings.params),
        runtime=runtime,
        selfcheck=settings.selfcheck,
    )
    if previous is not None:
        result = previous.under(result, settings)
    if target is not None:
        result = target.fill(result, runtime)
    elif result.volume.is_lazy and not settings.lazy:
        result = in_memory(result, runtime)
    source = volume if previous is None else previous.source(volume)
    path = None if target is None else target.path
    return VolumeOutcome(settings=settings, result=result, source=source, previous=previous, path=path)


def task_function(settings: VolumeSettings) -> Callable[..., Result]:
    """Return the function that does the task."""
    module = import_module(f"napari_emsynth.methods.{settings.task}")
    function: Callable[..., Result] = getattr(module, settings.function or settings.task)
    return function


def check_room(volume: Volume, settings: VolumeSettings) -> None:
    """Refuse a result that does not fit into memory.

    Raises:
        InputError: it and what comes with it need more than 80 % of what is free.
    """
    from napari_emsynth.tiling import memory_check as room

    room.check_room(bytes_needed(volume, settings), "the result needs", "choose a Zarr file, or Lazy")


def bytes_needed(volume: Volume, settings: VolumeSettings) -> int:
    """Return the size of a result with its mask and, of methods that have them, uncertainty and prior."""
    from napari_emsynth.methods import default, get

    spec = get(settings.task, settings.method or default(settings.task))
    return voxel_bytes(volume, spec) * prod(settings.shape(volume.shape))


def voxel_bytes(volume: Volume, spec: MethodSpec) -> int:
    """Return the bytes of a result's voxel: its own, the mask's, and those of uncertainty and prior where there are."""
    return volume.dtype.itemsize + 1 + 4 * (spec.has_uncertainty + spec.has_prior)


def free_memory() -> int | None:
    """Return how many bytes of memory are free; None when the system does not tell."""
    import torch

    from napari_emsynth.tiling.device import free_bytes

    return free_bytes(torch.device("cpu"))


def in_memory(result: Result, runtime: Runtime) -> Result:
    """Compute a lazy result, its mask and what else is known of it, block by block."""
    import dask
    from dask.array.core import slices_from_chunks

    named = ((name, getattr(result, name)) for name in DRAWN_TOGETHER)
    parts = {name: part for name, part in named if part is not None and part.is_lazy}
    values = {name: np.empty(part.shape, part.dtype) for name, part in parts.items()}
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
    values["synthetic"] = result.synthetic.read(slice(None))
    computed = {name: replace(getattr(result, name), data=data) for name, data in values.items()}
    return replace(result, **computed)


def marked(synthetic: Any, earlier: Any, scale: float) -> Any:
    """Return a mask in which the copies of sections that were made up before are marked too.

    Args:
        synthetic: [z, y, x] uint8, of the result.
        earlier: [z, y, x] uint8, of the input; its section z is the result's section ``z scale``, if it is there.
        scale: sections of the result for each of the input.
    """
    copies = copied_sections(synthetic.shape[0], earlier.shape[0], scale)
    if isinstance(synthetic, np.ndarray):
        both = synthetic.copy()
        for section, source in copies.items():
            both[section] = np.maximum(both[section], np.asarray(earlier[source]))
        return both
    import dask.array as da

    old = da.asarray(earlier)
    nothing = da.zeros((1, *synthetic.shape[1:]), np.uint8, chunks=(1, *synthetic.chunks[1:]))
    spread = [old[copies[j] : copies[j] + 1] if j in copies else nothing for j in range(synthetic.shape[0])]
    return da.maximum(synthetic, da.concatenate(spread).rechunk(synthetic.chunks))


def copied_sections(count: int, sources: int, scale: float) -> dict[int, int]:
    """Return the sections of a result that are copies of one of the input's, with that one."""
    there = {round(z * scale): z for z in range(sources) if abs(z * scale - round(z * scale)) < WHOLE}
    return {section: z for section, z in there.items() if section < count}
