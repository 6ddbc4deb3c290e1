"""What the reslice network of ``upsample/emsynth`` learns from: planes, degraded by the operator that users meet.

With ``S`` the operator of slab sampling, ``a`` the acquired sections and ``m`` the network's mean, its answer is
back-projected before it is judged (:mod:`napari_emsynth.methods.upsample.emsynth.loss`)::

    f = m + S^T (S S^T)^-1 (a - S m)      slab; point: f = m                                          (1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.methods.upsample.acquisition import Matrix, degraded, shares
from napari_emsynth.methods.upsample.emsynth.loss import drawn_factor, judgement
from napari_emsynth.methods.upsample.emsynth.reslice import acquired_rows, places_of, started
from napari_emsynth.methods.upsample.lattice import SAMPLINGS, Sampling
from napari_emsynth.methods.upsample.likeness import Likeness
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.models.kriging import Correlation, Reach
from napari_emsynth.models.reslice_unet import ResliceUNet, facts_of
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.samples.planes import Acquire, Acquired, Plane, PlaneSamples, Simulation
from napari_emsynth.volume import Float


@dataclass(frozen=True)
class Lesson:
    """One batch of b planes of n rows and w columns.

    Args:
        planes: [b, planes, n, w] where the network starts, normalised.
        places: [b, n] place of every row between two sections.
        facts: [b, 3] factor, sampling, sides.
        truth: [b, n, w].
        weight: [b, n] 0 where a row was acquired.
        thick: [b, m, w] acquired slabs; 0 under point sampling.
        shares: [b, m, n] of (1); 0 under point sampling, and where the crop holds less than a whole slab.
    """

    planes: Tensor
    places: Tensor
    facts: Tensor
    truth: Tensor
    weight: Tensor
    thick: Tensor
    shares: Tensor


class PlaneLessons:
    """Batches of planes, and the loss of a network on them.

    Args:
        data: blocks to learn from.
        planes: that the network sees.
        count: planes a batch.
        size: crop edge in px.
        simulation: what is simulated.

    Raises:
        InputError: a block too small for a crop.
    """

    def __init__(self, data: TrainingData, *, planes: int, count: int, size: int, simulation: Simulation) -> None:
        self.count = count
        self.samples = PlaneSamples(data.blocks, axes=data.axes, planes=planes, size=size, simulation=simulation)

    def loss(self, network: ResliceUNet, rng: Generator, device: torch.device) -> tuple[Tensor, Figures]:
        """Draw a batch and return its loss with the terms."""
        lesson = self.batch(rng, device)
        mean, log_scale = network(lesson.planes, lesson.places, lesson.facts)
        fine = consistent(mean[:, 0], lesson)
        return judgement(fine - lesson.truth, log_scale[:, 0], lesson.weight[:, :, None])

    def batch(self, rng: Generator, device: torch.device) -> Lesson:
        """Draw planes, each with its own factor and sampling."""
        drawn = []
        for _ in range(self.count):
            sampling = SAMPLINGS[int(rng.integers(2))]
            factor = drawn_factor(rng, sampling)
            drawn.append((factor, sampling, self.samples.draw(rng, factor, acquiring(factor, sampling))))
        return lesson_of(drawn, device)


def acquiring(factor: float, sampling: Sampling) -> Acquire:
    """Return what acquires a crop and draws it again, see :mod:`napari_emsynth.training.samples.planes`."""

    def acquire(
        fine: Float, wanted: range, noisy: Callable[[Float], Float], correlation: Correlation, reach: Reach
    ) -> Acquired:
        turned = np.ascontiguousarray(fine.swapaxes(0, 1))  # [rows, planes, columns]
        thick = noisy(degraded(turned, factor, sampling))  # [m, planes, columns]
        known_of = Likeness.of_pairs(correlation, list(pairwise(thick)), sampling)
        ask = Ask(wanted, factor, sampling, likeness=known_of)
        start, _ = started(thick, ask, wanted, reach)
        matrix: Matrix | None = None
        if sampling == "slab":
            matrix = shares(factor, wanted, range(len(thick)))
            matrix[matrix.sum(axis=1) < 1 - 1e-3] = 0
        known = acquired_rows(factor, sampling, wanted)
        places = places_of(factor, sampling, wanted)
        return Acquired(thick.swapaxes(0, 1), start.swapaxes(0, 1), places, known, matrix)

    return acquire


def lesson_of(drawn: Sequence[tuple[float, Sampling, Plane]], device: torch.device) -> Lesson:
    """Stack samples (factor, sampling, plane) to a batch."""
    most = max(plane.acquired.thick.shape[1] for _, _, plane in drawn)
    rows, columns = drawn[0][2].truth.shape
    thick = np.zeros((len(drawn), most, columns), np.float32)
    matrix = np.zeros((len(drawn), most, rows), np.float32)
    for b, (_, _, plane) in enumerate(drawn):
        acquired = plane.acquired
        if acquired.shares is not None:
            count = len(acquired.shares)
            thick[b, :count] = acquired.thick[len(acquired.thick) // 2]
            matrix[b, :count] = acquired.shares

    def tensor(values: Any) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(device)

    return Lesson(
        planes=tensor(np.stack([p.acquired.start for _, _, p in drawn])).contiguous(memory_format=torch.channels_last),
        places=tensor([p.acquired.places for _, _, p in drawn]),
        facts=tensor([facts_of(k, sampling == "slab", p.sides) for k, sampling, p in drawn]),
        truth=tensor(np.stack([p.truth for _, _, p in drawn])),
        weight=tensor([1.0 - p.acquired.known for _, _, p in drawn]),
        thick=tensor(thick),
        shares=tensor(matrix),
    )


def consistent(mean: Tensor, lesson: Lesson) -> Tensor:
    """Return (1): [b, n, w] back-projected where slabs are whole."""
    spread = (lesson.shares**2).sum(dim=2, keepdim=True).clamp_min(1e-12)  # [b, m, 1]
    missing = (lesson.thick - lesson.shares @ mean) * (lesson.shares.sum(dim=2, keepdim=True) > 0)
    return mean + lesson.shares.transpose(1, 2) @ (missing / spread)
