"""One driver for every task: a volume is prepared once, then any box of the result can be drawn.

A preview is ``draw`` of the box in view, a lazy layer is ``draw`` a chunk, an export is ``draw`` of everything.
Law: what is drawn of a box does not depend on the box that is asked for, nor on ``around``, but where a task's own
module says so. What is measured of a volume is remembered with the volume, so that preparing it again is quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from napari_emsynth.grid import Grid
from napari_emsynth.options import Options
from napari_emsynth.spec import Runtime, Task
from napari_emsynth.volume import Array, Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Drawing:
    """A task on a volume, prepared.

    Args:
        grid: of the result.
        draw: (box of the result, runtime) -> [z, y, x] voxels in the source's dtype.
        halo: sections, rows and columns of the result that a box is drawn with on both sides; None when unknown.
    """

    grid: Grid
    draw: Callable[[Box, Runtime], Array]
    halo: tuple[float, float, float] | None = None


def prepare(
    task: Task, volume: Volume, options: Options, runtime: Runtime, *, around: Box | None = None, **more: Any
) -> Drawing:
    """Return what draws any box of a task's result; nothing is self-checked.

    Args:
        task: its name.
        volume: [z, y, x].
        options: of the task.
        runtime: device, progress, cancel.
        around: a box of the volume that alone will be looked at: what is looked for in the volume, such as damage, is
            looked for there only. None for the whole.
        **more: what the task's function is given besides: a mask, materials.

    Raises:
        InputError: what the task itself would refuse.
        Cancelled: after ``runtime.cancel``.
    """
    module = import_module(f"napari_emsynth.methods.{task}.drawing")
    drawing: Drawing = module.prepare(volume, options, runtime, around=around, **more)
    return drawing
