"""Lateral super-resolution: finer pixels, of which the coarse ones are the means."""

from napari_emsynth.methods.superres.scoring.evaluate import evaluate
from napari_emsynth.methods.superres.task import superresolve

__all__ = ["evaluate", "superresolve"]
