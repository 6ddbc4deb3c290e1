"""Upsampling along z: thinner sections, synthesised between the acquired ones."""

from napari_emsynth.methods.upsample.scoring.evaluate import evaluate
from napari_emsynth.methods.upsample.task import upsample

__all__ = ["evaluate", "upsample"]
