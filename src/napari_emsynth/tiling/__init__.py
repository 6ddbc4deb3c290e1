"""The engine: any volume through any network, in tiles, on any device."""

from napari_emsynth.tiling.device import bare_name, choices, describe, resolve, resolve_precision, why_no_gpu
from napari_emsynth.tiling.plan import Tile, plan
from napari_emsynth.tiling.run import run

__all__ = ["Tile", "bare_name", "choices", "describe", "plan", "resolve", "resolve_precision", "run", "why_no_gpu"]
