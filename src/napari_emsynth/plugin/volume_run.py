"""A whole volume made anew; free of Qt and napari, for a worker thread.

Law: a run in memory is refused before it starts when the result has no room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.request import lazy
from napari_emsynth.plugin.volume_settings import VolumeSettings
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Volume

# A result that needs more of the free memory than this share would make the machine swap.
ROOM = 0.8
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class VolumeOutcome:
    """A finished run.

    Args:
        settings: what was asked for.
        result: what came of it.
        source: the voxels it was drawn from; None where nobody will ask.
        previous: what was known of the layer it was asked of.
    """

    settings: VolumeSettings
    result: Result
    source: Volume | None = None
    previous: Previous | None = None

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
        if self.synthetic is None:
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
) -> VolumeOutcome:
    """Do a task on a volume.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else it is computed.
        settings: what and how.
        runtime: device, progress, cancel.
        previous: what is known of the volume if it is a result.
        more: keyword arguments of the task's function that come from other layers.

    Raises:
        InputError: bad input, or no room for the result.
        Cancelled: the runtime's token was cancelled.
    """
    if not settings.lazy:
        check_room(volume, settings)
    result = task_function(settings)(
        lazy(volume) if settings.lazy or (previous is not None and previous.draws) else volume,
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
    if result.volume.is_lazy and not settings.lazy:
        result = in_memory(result, runtime)
    source = volume if previous is None else previous.source(volume)
    return VolumeOutcome(settings=settings, result=result, source=source, previous=previous)


def task_function(settings: VolumeSettings) -> Callable[..., Result]:
    """Return the function that does the task."""
    function: Callable[..., Result] = getattr(
        import_module(f"napari_emsynth.methods.{settings.task}"), settings.task
    )
    return function


def check_room(volume: Volume, settings: VolumeSettings) -> None:
    """Refuse a result that does not fit into memory.

    Raises:
        InputError: it and its mask need more than 80 % of what is free.
    """
    needed = prod(settings.shape(volume.shape)) * (volume.dtype.itemsize + 1)
    check_free(needed, "the result needs", "tick Lazy under More options, or use the command line")


def check_free(needed: int, what: str, instead: str) -> None:
    """Refuse what does not fit into memory.

    Args:
        needed: bytes.
        what: needs them.
        instead: what can be done.

    Raises:
        InputError: that is more than 80 % of what is free.
    """
    import torch

    from napari_emsynth.tiling.device import free_bytes

    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > ROOM * free:
        raise InputError(
            f"{what} {needed / GIB:.1f} GiB, the limit is {ROOM * free / GIB:.1f} GiB ({ROOM:.0%} of the "
            f"free memory); {instead}"
        )


def in_memory(result: Result, runtime: Runtime) -> Result:
    """Compute a lazy result and its mask, block by block."""
    from dask.array.core import slices_from_chunks

    data = result.volume.data
    values = np.empty(data.shape, data.dtype)
    blocks = slices_from_chunks(data.chunks)
    for done, block in enumerate(blocks):
        runtime.cancel.check()
        runtime.progress(done, len(blocks), "blocks")
        values[block] = data[block].compute(scheduler="synchronous")
    synthetic = result.synthetic.read(slice(None))
    return replace(
        result,
        volume=replace(result.volume, data=values),
        synthetic=replace(result.synthetic, data=synthetic),
    )


def marked(synthetic: Any, earlier: Any, scale: int) -> Any:
    """Return a mask in which the copies of sections that were made up before are marked too.

    Args:
        synthetic: [z, y, x] uint8, of the result.
        earlier: [z, y, x] uint8, of the input; its section z is the result's section ``z scale``, if it is there.
        scale: sections of the result for each of the input.
    """
    copies = len(range(0, synthetic.shape[0], scale))
    if isinstance(synthetic, np.ndarray):
        both = synthetic.copy()
        both[::scale] = np.maximum(both[::scale], np.asarray(earlier[:copies]))
        return both
    import dask.array as da

    comb = (np.arange(synthetic.shape[0]) % scale == 0).astype(np.uint8)[:, None, None]
    spread = da.repeat(da.asarray(earlier[:copies]), scale, axis=0)[: synthetic.shape[0]]
    return da.maximum(synthetic, spread * comb)
