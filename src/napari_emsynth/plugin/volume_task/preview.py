"""Planes of a task's result, as a preview; free of Qt and napari, for a worker thread.

Law: what a preview shows is what a run gives there, as far as the task's drawer says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from napari_emsynth.grid import Shape
from napari_emsynth.methods.drawing import Drawing, prepare
from napari_emsynth.plugin.jobs.queue import nothing
from napari_emsynth.plugin.layers.checkerboard import HOWS, How, overlaid
from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.volume_task.forecast import Speed
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Volume

Box = tuple[slice, slice, slice]
Drawer = Callable[[Box, Runtime], Array]
# Progress is told in this many parts a plane.
PARTS = 100
# The axes that run down and across in each plane.
AXES = {"xy": (1, 2), "xz": (0, 2), "yz": (0, 1)}


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
    drawing: Drawing,
    runtime: Runtime,
    *,
    limits: tuple[float, float] | None = None,
    told: Callable[[Speed], None] = nothing,
) -> list[Plane]:
    """Return an xy section and, where the task is seen there, the two reslices through the middle of a window.

    Only these planes (and what the method looks at around them) are computed.

    Args:
        volume: the layer's.
        settings: what and how.
        window: sections, rows and columns.
        voxel: size along z, y, x in any one unit.
        drawing: draws any box of the task's result, inside the window at least.
        runtime: device, progress, cancel.
        limits: of contrast; with them, overlays of the section and the one after it are returned too.
        told: how fast the task draws, where that can be told of a run too.

    Raises:
        InputError: bad input.
        Cancelled: the runtime's token was cancelled.
    """
    cuts = cuts_of(settings, window, volume.shape)
    planes, draws = [], []
    for done, (name, (before, after)) in enumerate(cuts.items()):
        runtime.cancel.check()
        runtime.progress(PARTS * done, PARTS * len(cuts), "planes")
        started = time.perf_counter()
        block = drawing.draw(after, _part(runtime, done, len(cuts)))
        draws.append((block.shape, time.perf_counter() - started))
        planes.append(
            Plane(
                name,
                _picture(name, volume.read(*before), before, voxel),
                _picture(name, block, after, settings.voxel(voxel), settings.offset[0] * voxel[0]),
            )
        )
    if limits is not None:
        planes += overlaid_planes(volume, drawing.draw, window, voxel, limits, runtime)
    speed = Speed.of(draws, drawing.halo, settings.shape(volume.shape))
    if speed is not None:
        told(speed)
    return planes


def cuts_of(settings: VolumeSettings, window: Window, shape: Shape) -> dict[str, tuple[Box, Box]]:
    """Return where each plane lies in the layer, and in the result."""
    z, y, x = window.sections, window.rows, window.columns
    row, column = slice(window.row, window.row + 1), slice(window.column, window.column + 1)
    here, between = (
        slice(section, section + 1) for section in (window.section, halfway(settings, window.section, shape))
    )
    cuts = {"xy": ((here, y, x), (between, settings.pixels(y), settings.pixels(x)))}
    if settings.previews_reslices:
        # Tasks that make pixels smaller are not seen in reslices.
        cuts["xz"] = ((z, row, x), (settings.sections(z), row, x))
        cuts["yz"] = ((z, y, column), (settings.sections(z), y, column))
    return cuts


def halfway(settings: VolumeSettings, section: int, shape: Shape) -> int:
    """Return the section of the result halfway to the next of the layer: there a method has most to make up."""
    if section == shape[0] - 1:
        return int(settings.sections(slice(section, section + 1)).start)
    first = int(settings.sections(slice(section, section + 2)).start)
    return min(first + int(1 / settings.voxel((2.0, 1.0, 1.0))[0]), settings.shape(shape)[0] - 1)


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
        plain = _picture("xy", pair[:1], box, voxel)
        return replace(plain, pixels=overlaid(how, pair[0], pair[1], limits))

    return [Plane(how, *(picture(how, pair) for pair in pairs)) for how in HOWS]


def _part(runtime: Runtime, done: int, total: int) -> Runtime:
    """Map the tiles of one plane to their share of the whole preview."""

    def progress(tiles: int, of: int, _message: str) -> None:
        runtime.progress(PARTS * done + PARTS * tiles // max(of, 1), PARTS * total, "planes")

    return replace(runtime, progress=progress)


def drawn(
    volume: Volume, settings: VolumeSettings, window: Window, runtime: Runtime, more: Mapping[str, Any]
) -> Drawing:
    """Return what draws any box of the task's result inside a window.

    Args:
        volume: the layer's.
        settings: what and how.
        window: sections, rows and columns of the layer.
        runtime: device, progress, cancel.
        more: keyword arguments of the task's function that come from other layers.

    Raises:
        InputError: a method that cannot do this, bad input.
        Cancelled: the runtime's token was cancelled.
    """
    box = (window.sections, window.rows, window.columns)
    return prepare(settings.task, volume, settings.numbers(), runtime, around=box, **more)


def _picture(name: str, block: Array, box: Box, voxel: tuple[float, float, float], first: float = 0.0) -> Picture:
    """Return one plane of a block [z, y, x] with its place; z runs down in reslices.

    Args:
        name: of the plane.
        block: its voxels.
        box: where it lies.
        voxel: size of its voxels.
        first: place of the centre of section 0.
    """
    z, y, x = box
    starts = (first + (z.start - 0.5) * voxel[0], y.start * voxel[1], x.start * voxel[2])
    down, across = AXES[name]
    pixels = block.take(0, axis=3 - down - across)
    return Picture(
        pixels,
        top=starts[down],
        left=starts[across],
        height=pixels.shape[0] * voxel[down],
        width=pixels.shape[1] * voxel[across],
    )


def crosses(window: Window, voxel: tuple[float, float, float]) -> dict[str, tuple[float, float]]:
    """Return where the other planes run in each, (down, across) in the layer's length units."""
    # As pictures lie: sections by their centres, rows and columns by their faces.
    places = (
        window.section * voxel[0], (window.row + 0.5) * voxel[1], (window.column + 0.5) * voxel[2],
    )  # fmt: skip
    return {name: (places[down], places[across]) for name, (down, across) in AXES.items()}


def picked_voxel(
    name: str, down: float, across: float, window: Window, voxel: tuple[float, float, float]
) -> tuple[int, int, int]:
    """Return the voxel (z, y, x) under a place of a plane, inside the window; the third axis is the plane's own."""
    found = [window.section, window.row, window.column]
    for axis, place in zip(AXES[name], (down, across), strict=True):
        index = round(place / voxel[axis]) if axis == 0 else int(place // voxel[axis])
        part = (window.sections, window.rows, window.columns)[axis]
        found[axis] = min(max(index, part.start), part.stop - 1)
    return (found[0], found[1], found[2])
