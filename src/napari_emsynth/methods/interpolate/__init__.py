"""Interpolation: missing and damaged sections, synthesised from their neighbours."""

from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate
from napari_emsynth.methods.interpolate.task import interpolate

__all__ = ["evaluate", "interpolate"]
