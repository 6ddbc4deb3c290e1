"""What the lessons of both networks of ``upsample/emsynth`` have in common: the loss, and which factors are drawn.

With ``f`` the answer, back-projected under slab sampling, ``y`` the truth and ``e^s`` the scale the network states::

    loss = |f - y| + 2 |f - y|^2 + 0.1 (|f - y| / e^s + s)                                              (1)

averaged over what was not acquired. The scale learns from the error but does not trade accuracy for confidence.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.methods.upsample.lattice import HIGHEST, LOWEST, Sampling
from napari_emsynth.training.recipe import Figures

# A third of the samples under slab sampling have a fractional factor.
FRACTIONAL = 0.33


def judgement(error: Tensor, log_scale: Tensor, weight: Tensor) -> tuple[Tensor, Figures]:
    """Return (1) with its terms.

    Args:
        error: [b, y, x] of the answer, normalised.
        log_scale: [b, y, x] what the network takes its size for.
        weight: [b, y or 1, x or 1] of every voxel; only ratios count.
    """
    weight = weight / weight.mean()
    absolute, square = (weight * error.abs()).mean(), (weight * error**2).mean()
    likelihood = (weight * (error.abs().detach() * torch.exp(-log_scale) + log_scale)).mean()
    loss = absolute + 2 * square + 0.1 * likelihood  # (1)
    return loss, {"l1": absolute, "mse": square}


def drawn_factor(rng: Generator, sampling: Sampling) -> float:
    """Draw a factor of 2 to 12, every octave alike; whole ones but for a part of slab sampling."""
    factor = float(np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST))))
    if sampling == "slab" and rng.random() < FRACTIONAL:
        return factor
    return float(round(factor))
