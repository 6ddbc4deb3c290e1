"""Three planes of a task's result, as a preview; free of Qt and napari, for a worker thread.

Law: what a preview shows is what a run gives there, but for displacements, see
:mod:`napari_emsynth.plugin.align_preview`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from napari_emsynth.plugin.align_preview import aligned_drawer
from napari_emsynth.plugin.align_settings import AlignSettings
from napari_emsynth.plugin.overlays import HOWS, How, overlaid
from napari_emsynth.plugin.volume_run import NOTHING_MORE
from napari_emsynth.plugin.volume_settings import UpsampleSettings, VolumeSettings
from napari_emsynth.plugin.window import Window
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

Drawer = Callable[[tuple[slice, slice, slice], Runtime], Array]
# Progress is told in this many parts a plane.
PARTS = 100


@dataclass(frozen=True)
class Picture:
    """A plane of a volume and where it lies.

    Args:
        pixels: [rows, columns], or [rows, columns, 3] uint8 of red, green and blue.
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
    *,
    limits: tuple[float, float] | None = None,
    more: Mapping[str, Any] = NOTHING_MORE,
) -> list[Plane]:
    """Return an xy section and the two reslices through the middle of a window, before and after.

    Only these three planes (and what the method looks at around them) are computed.

    Args:
        volume: the layer's.
        settings: what and how.
        window: sections, rows and columns.
        voxel: size along z, y, x in any one unit.
        runtime: device, progress, cancel.
        limits: of contrast; with them, overlays of the section and the one after it are returned too.
        more: keyword arguments of the task's function that come from other layers.

    Raises:
        InputError: bad input.
        Cancelled: the runtime's token was cancelled.
    """
    draw = drawer(volume, settings, window, runtime, more)
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
    if limits is not None:
        planes += overlaid_planes(volume, draw, window, voxel, limits, runtime)
    return planes


def overlaid_planes(
    volume: Volume,
    draw: Drawer,
    window: Window,
    voxel: tuple[float, float, float],
    limits: tuple[float, float],
    runtime: Runtime,
) -> list[Plane]:
    """Return a section over the one after it, before and after, in every way there is; of equal grids."""
    first = min(window.section, window.sections.stop - 2)
    box = (slice(first, first + 2), window.rows, window.columns)
    pairs = volume.read(*box), draw(box, _part(runtime, 0, 1))

    def picture(how: How, pair: Array) -> Picture:
        plain = _picture("xy", pair[:1], box, voxel, 1, 0.0)
        return replace(plain, pixels=overlaid(how, pair[0], pair[1], limits))

    return [Plane(how, *(picture(how, pair) for pair in pairs)) for how in HOWS]


def _part(runtime: Runtime, done: int, total: int) -> Runtime:
    """Map the tiles of one plane to their share of the whole preview."""

    def progress(tiles: int, of: int, _message: str) -> None:
        runtime.progress(PARTS * done + PARTS * tiles // max(of, 1), PARTS * total, "planes")

    return replace(runtime, progress=progress)


def drawer(
    volume: Volume, settings: VolumeSettings, window: Window, runtime: Runtime, more: Mapping[str, Any]
) -> Drawer:
    """Return what draws any box of the task's result, inside a window at least.

    Raises:
        InputError: a method that cannot do this, too few sections.
    """
    from napari_emsynth.methods import default, get
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
        from napari_emsynth.methods.upsample.job import Job as UpsampleJob
        from napari_emsynth.methods.upsample.lattice import Lattice, check_factor, check_sections
        from napari_emsynth.methods.upsample.task import default_method

        method = settings.method or default_method(settings.factor, settings.sampling)
        factor, sampling = check_factor(get("upsample", method), settings.factor, settings.sampling)
        check_sections(volume.shape[0])
        return UpsampleJob.of(request(method), Lattice(volume.shape[0], factor, sampling))
    from napari_emsynth.methods.align.job import Job as AlignJob
    from napari_emsynth.methods.align.task import check_sections as check_stack

    asked = request(settings.method or default("align"))
    check_stack(asked)
    if isinstance(settings, AlignSettings) and asked.spec.answers == "displacement":
        return aligned_drawer(volume, settings, window, runtime, more)
    return AlignJob.of(asked)


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
