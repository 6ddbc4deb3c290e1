"""Several answers to one question, made one: the surer an expert is of a voxel, the more it says there.

::

    w_i = trust_i / b_i^2                                                                     (1)
    mean = sum_i w_i m_i / sum_i w_i        b = sum_i w_i b_i / sum_i w_i                      (2)

with ``m_i`` an expert's mean and ``b_i`` its Laplace scale, whose variance is ``2 b_i^2``: inverse-variance weights.
Errors of experts who look at the same sections are mostly shared (their correlation on held-out blocks is 0.93), so the
scale is that of shared errors, the largest possible; independent ones would be surer together.

Laws: equal answers are the answer; one expert alone is left as it is; the scale is no larger than the
largest and no smaller than the smallest; an expert that is not trusted has no say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.methods.upsample.protocol import Expert
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
    if len(trusted) == 1:
        return trusted[0][0].mean, trusted[0][0].scale
    scales = np.stack([np.maximum(e.scale, SUREST) for e, _ in trusted if e.scale is not None])
    shares = np.array([share for _, share in trusted], np.float32).reshape(-1, *(1,) * (scales.ndim - 1))
    weights = shares / scales**2  # (1)
    weights /= weights.sum(axis=0)
    means = np.stack([e.mean for e, _ in trusted])
    return (weights * means).sum(axis=0), (weights * scales).sum(axis=0)  # (2)


def trust_of(method: Any, factor: float, sampling: Sampling) -> dict[str, float]:
    """Return how far a built method trusts its experts, by name; methods that say nothing trust all alike."""
    told = getattr(method, "trust", None)
    return {} if told is None else {str(name): float(share) for name, share in told(factor, sampling).items()}
