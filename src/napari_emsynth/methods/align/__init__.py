"""Alignment: sections of a roughly aligned stack, made to continue each other."""

from napari_emsynth.methods.align.scoring.evaluate import evaluate
from napari_emsynth.methods.align.task import align

__all__ = ["align", "evaluate"]
