"""A whole volume made anew, or three planes of it as a preview; free of Qt and napari, for a worker thread.

Laws: what a preview shows is what a run gives there; a run in memory is refused before it starts when the
result has no room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.request import lazy
from napari_emsynth.plugin.volume_settings import UpsampleSettings, VolumeSettings
from napari_emsynth.plugin.window import Window
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Array, Volume

# A result that needs more of the free memory than this share would make the machine swap.
ROOM = 0.8
GIB = 2**30
# Progress of a preview is told in this many parts a plane.
PARTS = 100


@dataclass(frozen=True, kw_only=True)
class VolumeOutcome:
    """A finished run."""

    settings: VolumeSettings
    result: Result

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

    def under(self, result: Result, settings: VolumeSettings) -> Result:
        """Return the result with what was made up before marked too, and the earlier record kept."""
        record = {**result.provenance, "previous": self.provenance}
        if self.synthetic is None:
            return replace(result, provenance=record)
        both = marked(result.synthetic.data, self.synthetic, settings.section_scale)
        return replace(result, provenance=record, synthetic=replace(result.synthetic, data=both))


def run(
    volume: Volume, settings: VolumeSettings, runtime: Runtime, previous: Previous | None = None
) -> VolumeOutcome:
    """Do a task on a volume.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else it is computed.
        settings: what and how.
        runtime: device, progress, cancel.
        previous: what is known of the volume if it is a result.

    Raises:
        InputError: bad input, or no room for the result.
        Cancelled: the runtime's token was cancelled.
    """
    if not settings.lazy:
        check_room(volume, settings)
    result = task_function(settings)(
        lazy(volume) if settings.lazy else volume,
        **settings.options(),
        **({"method": settings.method} if settings.method else {}),
        weights=settings.weights or None,
        params=dict(settings.params),
        runtime=runtime,
        selfcheck=settings.selfcheck,
    )
    if result.volume.is_lazy and not settings.lazy:
        result = in_memory(result, runtime)
    if previous is not None:
        result = previous.under(result, settings)
    return VolumeOutcome(settings=settings, result=result)


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
    import torch

    from napari_emsynth.tiling.device import free_bytes

    needed = prod(settings.shape(volume.shape)) * (volume.dtype.itemsize + 1)
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > ROOM * free:
        raise InputError(
            f"the result needs {needed / GIB:.1f} GiB, the limit is {ROOM * free / GIB:.1f} GiB ({ROOM:.0%} of the "
            "free memory); tick Lazy under More options, or use the command line"
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


# -- preview ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """A plane of a volume and where it lies.

    Args:
        pixels: [rows, columns].
        top: position of its upper edge, in the layer's length units.
        left: of its left edge.
        height: of all rows.
        width: of all columns.
    """

    pixels: Array
    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Plane:
    """The same plane before and after."""

    name: str
    before: Picture
    after: Picture


def preview(
    volume: Volume,
    settings: VolumeSettings,
    window: Window,
    voxel: tuple[float, float, float],
    runtime: Runtime,
) -> list[Plane]:
    """Return an xy section and the two reslices through the middle of a window, before and after.

    Only these three planes (and what the method looks at around them) are computed.

    Args:
        volume: the layer's.
        settings: what and how.
        window: sections, rows and columns.
        voxel: size along z, y, x in any one unit.
        runtime: device, progress, cancel.

    Raises:
        InputError: bad input.
        Cancelled: the runtime's token was cancelled.
    """
    draw = drawer(volume, settings, runtime)
    scale = settings.section_scale
    z, y, x = window.sections, window.rows, window.columns
    row, column = slice(window.row, window.row + 1), slice(window.column, window.column + 1)
    # Halfway to the next section: there a method has most to make up.
    between = window.section * scale + (scale // 2 if window.section < volume.shape[0] - 1 else 0)
    here = slice(window.section, window.section + 1)
    cuts = {
        "xy": ((here, y, x), (slice(between, between + 1), y, x)),
        "xz": ((z, row, x), (settings.sections(z), row, x)),
        "yz": ((z, y, column), (settings.sections(z), y, column)),
    }
    planes = []
    for done, (name, (before, after)) in enumerate(cuts.items()):
        runtime.cancel.check()
        runtime.progress(PARTS * done, PARTS * len(cuts), "planes")
        drawn = draw(after, _part(runtime, done, len(cuts)))
        planes.append(
            Plane(
                name,
                _picture(name, volume.read(*before), before, voxel, 1, 0.0),
                _picture(name, drawn, after, voxel, scale, settings.section_offset),
            )
        )
    return planes


def _part(runtime: Runtime, done: int, total: int) -> Runtime:
    """Map the tiles of one plane to their share of the whole preview."""

    def progress(tiles: int, of: int, _message: str) -> None:
        runtime.progress(PARTS * done + PARTS * tiles // max(of, 1), PARTS * total, "planes")

    return replace(runtime, progress=progress)


def drawer(
    volume: Volume, settings: VolumeSettings, runtime: Runtime
) -> Callable[[tuple[slice, slice, slice], Runtime], Array]:
    """Return what draws any box of the task's result.

    Raises:
        InputError: a method that cannot do this, too few sections.
    """
    from napari_emsynth.methods import default
    from napari_emsynth.methods.request import Request

    def request(method: str) -> Request:
        return Request.of(
            settings.task,
            volume,
            method,
            weights=settings.weights or None,
            params=dict(settings.params),
            voxel_nm=None,
            runtime=runtime,
        )

    if isinstance(settings, UpsampleSettings):
        from napari_emsynth.methods import get
        from napari_emsynth.methods.upsample.job import Job as UpsampleJob
        from napari_emsynth.methods.upsample.lattice import Lattice, check_factor, check_sections
        from napari_emsynth.methods.upsample.task import default_method

        method = settings.method or default_method(settings.factor, settings.sampling)
        factor, sampling = check_factor(get("upsample", method), settings.factor, settings.sampling)
        check_sections(volume.shape[0])
        return UpsampleJob.of(request(method), Lattice(volume.shape[0], factor, sampling))
    from napari_emsynth.methods.align.job import Job as AlignJob
    from napari_emsynth.methods.align.task import check_sections as check_stack

    check_stack(volume.shape[0])
    return AlignJob.of(request(settings.method or default("align")))


def _picture(
    name: str,
    block: Array,
    box: tuple[slice, slice, slice],
    voxel: tuple[float, float, float],
    scale: int,
    offset: float,
) -> Picture:
    """Return one plane of a block [z, y, x] with its place; z runs down in reslices."""
    z, y, x = box
    sizes = (voxel[0] / scale, voxel[1], voxel[2])
    starts = ((offset + z.start / scale) * voxel[0] - sizes[0] / 2, y.start * voxel[1], x.start * voxel[2])
    flat = {"xy": 0, "xz": 1, "yz": 2}[name]
    down, across = [axis for axis in range(3) if axis != flat]
    pixels = block.take(0, axis=flat)
    return Picture(
        pixels,
        top=starts[down],
        left=starts[across],
        height=pixels.shape[0] * sizes[down],
        width=pixels.shape[1] * sizes[across],
    )
