"""A whole volume made anew; free of Qt and napari, for a worker thread.

Laws: a run in memory is refused before it starts when the result has no room; one into a file holds a block at a time,
and goes on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_emsynth.methods.in_memory import by_section, in_memory
from napari_emsynth.methods.tasks import function_of
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.volume_task.target import Target
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.volume import Volume


@dataclass(frozen=True, kw_only=True)
class VolumeOutcome:
    """A finished run.

    Args:
        settings: what was asked for.
        result: what came of it.
        source: the voxels it was drawn from; None where nobody will ask.
        path: the file the result lies in; None in memory.
    """

    settings: VolumeSettings
    result: Result
    source: Volume | None = None
    path: Path | None = None

    @property
    def notices(self) -> list[str]:
        """What the user must be told."""
        return list(self.result.provenance.get("notices", []))

    @property
    def selfcheck(self) -> dict[str, Any] | None:
        """The figures of the self-check, None when there was none."""
        return self.result.provenance.get("selfcheck")


NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


def run(
    volume: Volume,
    settings: VolumeSettings,
    runtime: Runtime,
    more: Mapping[str, Any] = NOTHING_MORE,
    target: Target | None = None,
) -> VolumeOutcome:
    """Do a task on a volume.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else it is computed.
        settings: what and how.
        runtime: device, progress, cancel.
        more: keyword arguments of the task's function that come from other layers.
        target: the file the result goes into; None for memory.

    Raises:
        InputError: bad input, or no room for the result.
        Cancelled: the runtime's token was cancelled.
    """
    if not settings.lazy and target is None:
        check_room(volume, settings)
    block_by_block = settings.lazy or target is not None
    source = by_section(volume) if block_by_block else volume
    draw = partial(function_of(settings.task), source, options=settings.asked(), runtime=runtime, **more)
    if target is not None:
        with target.held(runtime) as claims:
            result = target.fill(recognised(draw(), volume), runtime, claims)
    else:
        result = draw()
    if target is None and result.volume.is_lazy and not settings.lazy:
        result = in_memory(result, runtime)
    path = None if target is None else target.path
    return VolumeOutcome(settings=settings, result=result, source=drawn_from(result, volume), path=path)


def recognised(result: Result, volume: Volume) -> Result:
    """Return a result whose record tells the voxels in memory that it was made from: changed ones are another job."""
    if volume.is_lazy:
        return result
    from napari_emsynth.io.atomic import digest

    return replace(result, provenance=result.provenance | {"voxels": digest(*volume.data)})


def drawn_from(result: Result, volume: Volume) -> Volume:
    """Return the voxels that a result was drawn from: of a volume that was only moved, those before it was."""
    known = result.volume.known
    return volume if known is None or known.moved is None else known.moved[0]


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
