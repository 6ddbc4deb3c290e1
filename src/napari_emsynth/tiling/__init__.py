"""The engine: any volume through any network, in tiles, on any device."""

from napari_emsynth.tiling.blend import Accumulator, window
from napari_emsynth.tiling.device import bare_name, choices, describe, resolve, resolve_precision, why_no_gpu
from napari_emsynth.tiling.plan import Tile, plan
from napari_emsynth.tiling.run import Reader, Writer, run
from napari_emsynth.tiling.size import Cost, estimate

__all__ = [
    "Accumulator",
    "Cost",
    "Reader",
    "Tile",
    "Writer",
    "bare_name",
    "choices",
    "describe",
    "estimate",
    "plan",
    "resolve",
    "resolve_precision",
    "run",
    "why_no_gpu",
    "window",
]
