"""How the reslice network of ``upsample/emsynth`` is trained: planes are degraded by the operator that users meet.

With ``S`` the operator of slab sampling, ``a`` the acquired sections, ``m`` the network's mean and ``e^s`` its scale::

    f = m + S^T (S S^T)^-1 (a - S m)      slab: back-projected before it is judged; point: f = m          (1)
    loss = |f - y| + 2 |f - y|^2 + 0.1 (|f - y| / e^s + s)                                              (2)

averaged over the rows that were not acquired. The scale learns from the error but does not trade accuracy for
confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.methods.upsample.acquisition import Matrix, degraded, shares
from napari_emsynth.methods.upsample.held_out import Case, Judged
from napari_emsynth.methods.upsample.lattice import HIGHEST, LOWEST, SAMPLINGS, Sampling
from napari_emsynth.methods.upsample.reslice import acquired_rows, places_of, reslice, stretched
from napari_emsynth.models.reslice_unet import Config, ResliceUNet, facts_of
from napari_emsynth.spec import Runtime
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.planes import Acquire, Acquired, Plane, PlaneSamples, Simulation
from napari_emsynth.volume import Float

# Pixel sizes the training samples stand for: 10 nm, magnified 0.5 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
# A third of the samples under slab sampling have a fractional factor.
FRACTIONAL = 0.33


@dataclass(frozen=True)
class Lesson:
    """One batch of b planes of n rows and w columns.

    Args:
        planes: [b, planes, n, w] stretched, normalised.
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


class Accurate(Judged):
    """Gradient descent on (2).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        simulation: what is simulated.
        batch: planes a step.
        size: crop edge in px.
    """

    method = "upsample/emsynth"
    objective = "accurate"
    voxel_nm = VOXEL_NM

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation = Simulation(),
        batch: int = 8,
        size: int = 96,
    ) -> None:
        self.data, self.start, self.count = data, start, batch
        self.config = Config.from_json(config or {})
        self.samples = PlaneSamples(
            data.blocks, axes=data.axes, planes=self.config.planes, size=size, simulation=simulation
        )

    def build(self) -> nn.Module:
        """Build the network."""
        return ResliceUNet(self.config)

    def loss(
        self, network: nn.Module, rng: Generator, device: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return (2) with its terms."""
        lesson = self.minibatch(rng, device)
        mean, log_scale = network(lesson.planes, lesson.places, lesson.facts)
        fine = consistent(mean[:, 0], lesson)
        return judgement(fine - lesson.truth, log_scale[:, 0], lesson.weight[:, :, None])

    def minibatch(self, rng: Generator, device: torch.device) -> Lesson:
        """Draw planes, each with its own factor and sampling."""
        drawn = []
        for _ in range(self.count):
            sampling = SAMPLINGS[int(rng.integers(2))]
            factor = drawn_factor(rng, sampling)
            drawn.append((factor, sampling, self.samples.draw(rng, factor, acquiring(factor, sampling))))
        return lesson_of(drawn, device)

    def answer(self, network: nn.Module, case: Case, runtime: Runtime) -> tuple[Float, Float]:
        """Ask for every plane of a held-out block."""
        assert isinstance(network, ResliceUNet)
        sections = range(len(case.truth))
        return reslice(
            network, case.thick, sections, case.factor, case.sampling, 0, runtime, sides=case.sides
        )


def judgement(error: Tensor, log_scale: Tensor, weight: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return (2) with its terms.

    Args:
        error: [b, y, x] of the answer, normalised.
        log_scale: [b, y, x] what the network takes its size for.
        weight: [b, y or 1, x or 1] of every voxel; only ratios count.
    """
    weight = weight / weight.mean()
    absolute, square = (weight * error.abs()).mean(), (weight * error**2).mean()
    likelihood = (weight * (error.abs().detach() * torch.exp(-log_scale) + log_scale)).mean()
    loss = absolute + 2 * square + 0.1 * likelihood  # (2)
    return loss, {"l1": float(absolute.detach()), "mse": float(square.detach())}


def drawn_factor(rng: Generator, sampling: Sampling) -> float:
    """Draw a factor of 2 to 12, every octave alike; whole ones but for a part of slab sampling."""
    factor = float(np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST))))
    if sampling == "slab" and rng.random() < FRACTIONAL:
        return factor
    return float(round(factor))


def acquiring(factor: float, sampling: Sampling) -> Acquire:
    """Return what acquires and stretches a crop, see :mod:`napari_emsynth.training.planes`."""

    def acquire(fine: Float, first: int, rows: int, noisy: Callable[[Float], Float]) -> Acquired:
        turned = np.ascontiguousarray(fine.swapaxes(0, 1))  # [rows, planes, columns]
        thick = noisy(degraded(turned, factor, sampling))  # [m, planes, columns]
        wanted = range(first, first + rows)
        start = stretched(thick, factor, sampling, range(fine.shape[1]))[first : wanted.stop]
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
        planes=tensor(np.stack([p.acquired.stretched for _, _, p in drawn])).contiguous(
            memory_format=torch.channels_last
        ),
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
