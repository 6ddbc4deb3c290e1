"""Several answers to one question, made one: the surer an expert is of a voxel, the more it says there.

::

    w_i = trust_i / b_i^2                                                                     (1)
    mean = sum_i w_i m_i / sum_i w_i        1 / b^2 = sum_i w_i                               (2)

with ``m_i`` an expert's mean and ``b_i`` its Laplace scale, whose variance is ``2 b_i^2``: inverse-variance weights.
Errors that experts share make (2) too sure of itself; calibration on the user's own volume takes that back.

Laws: equal answers are the answer; one expert alone is left as it is, but for its trust; an expert that is not trusted
has no say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.methods.upsample.upsampler import Expert
from napari_emsynth.volume import Float

# No expert is surer than this of a voxel, in deviations of the volume: one that is sure of all would silence the rest.
SUREST = 1e-4


def fused(experts: Sequence[Expert], trust: Mapping[str, float]) -> tuple[Float, Float | None]:
    """Return mean and Laplace scale, (2), each [n, y, x].

    Args:
        experts: one or more, of one shape.
        trust: by expert, not negative; 1 where it says nothing. One at least is trusted.

    Returns:
        The scale is None where one of the trusted experts has none: then their means count by trust alone.
    """
    trusted = [(e, trust.get(e.name, 1.0)) for e in experts if trust.get(e.name, 1.0) > 0]
    assert trusted, trust
    if any(e.scale is None for e, _ in trusted):
        total = sum(share for _, share in trusted)
        return reduce(add, (np.float32(share / total) * e.mean for e, share in trusted)), None
    weights = [_precision(e, share) for e, share in trusted]  # (1)
    precision = reduce(add, weights)
    if len(trusted) == 1:
        return trusted[0][0].mean, _scale(precision)
    mean = reduce(add, (w * e.mean for w, (e, _) in zip(weights, trusted, strict=True))) / precision  # (2)
    return np.asarray(mean, np.float32), _scale(precision)


def _precision(expert: Expert, share: float) -> Float:
    assert expert.scale is not None
    return np.asarray(share / np.maximum(expert.scale, SUREST) ** 2, np.float32)


def _scale(precision: Float) -> Float:
    return np.asarray(1 / np.sqrt(precision), np.float32)


def trust_of(method: Any, factor: float, sampling: Sampling) -> dict[str, float]:
    """Return how far a built method trusts its experts, by name; methods that say nothing trust all alike."""
    told = getattr(method, "trust", None)
    return {} if told is None else {str(name): float(share) for name, share in told(factor, sampling).items()}
