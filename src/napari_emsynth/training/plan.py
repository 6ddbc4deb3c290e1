"""The budget and the rates of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_emsynth.errors import InputError
from napari_emsynth.training import checkpoint


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast.

    Args:
        seconds: of training in all, over resumed sessions; None to count steps.
        steps: optimiser steps in all; None to count seconds.
        lr: peak learning rate of AdamW.
        warmup: share of the budget in which the rate rises.
        decay: weight decay.
        average: horizon of the moving average, in steps.
        validate_every: seconds between validations (and checkpoints).
        clip: largest gradient norm.
    """

    seconds: float | None = None
    steps: int | None = None
    lr: float = 1e-3
    warmup: float = 0.02
    decay: float = 1e-4
    average: int = 1000
    validate_every: float = 120.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.steps is None):
            raise InputError("training needs either a time in minutes or a number of steps, and not both")
        for name, value, unit in (("time", self.seconds, "s"), ("number of steps", self.steps, "steps")):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"training {name} of {value} {unit} is not above the limit of 0 {unit}")

    def progress(self, counters: checkpoint.Counters) -> float:
        """Share of the budget spent, 0 to 1."""
        spent = counters.seconds / self.seconds if self.seconds else counters.step / (self.steps or 1)
        return min(spent, 1.0)

    def rate(self, progress: float) -> float:
        """Learning rate: linear warm-up, then half a cosine to zero."""
        if progress < self.warmup:
            return self.lr * max(progress / self.warmup, 0.02)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
