"""What the network of ``upsample/emsynth`` that looks along z learns from: runs of fine sections, made coarser.

All sections between two acquired ones (point), or within one (slab), are drawn; a slab's run is back-projected before
it is judged (:mod:`napari_emsynth.methods.upsample.teaching`). It needs isotropic voxels: elsewhere nobody knows what
lies between sections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.between import SEEN
from napari_emsynth.methods.upsample.lattice import SAMPLINGS, Sampling, position
from napari_emsynth.methods.upsample.reslice import stretched
from napari_emsynth.methods.upsample.teaching import drawn_factor, judgement
from napari_emsynth.models.reslice_unet import ResliceUNet, facts_of
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.pairs import grain
from napari_emsynth.training.planes import Simulation
from napari_emsynth.training.recipe import Figures
from napari_emsynth.training.runs import Need, Runs
from napari_emsynth.volume import Float


@dataclass(frozen=True)
class Run:
    """Fine sections between two acquired ones, or within one.

    Args:
        planes: [n, 5, y, x] what the network sees of each.
        truth: [n, y, x].
        places: [n] between the acquired sections.
        facts: [n, 3] of :func:`facts_of`.
        slab: [y, x] what the run was averaged to; None under point sampling.
    """

    planes: Float
    truth: Float
    places: Float
    facts: Float
    slab: Float | None

    def consistent(self, mean: Tensor) -> Tensor:
        """Return an answer [n, y, x] back-projected."""
        if self.slab is None:
            return mean
        return mean + (torch.from_numpy(self.slab).to(mean.device) - mean.mean(0))


class RunLessons:
    """Batches of runs, and the loss of a network on them.

    Args:
        data: isotropic blocks to learn from.
        count: sections a batch, at least; whole runs of them.
        size: crop edge in px.
        simulation: what is simulated.

    Raises:
        InputError: anisotropic voxels, or a block too small for a crop.
    """

    def __init__(self, data: TrainingData, *, count: int, size: int, simulation: Simulation) -> None:
        self.count, self.simulation = count, simulation
        self.runs = Runs(data.blocks, axes=data.axes, size=size, simulation=simulation)

    def loss(self, network: ResliceUNet, rng: Generator, device: torch.device) -> tuple[Tensor, Figures]:
        """Draw runs and return the loss with its terms."""
        runs = self.batch(rng)

        def tensor(values: Sequence[Float]) -> Tensor:
            return torch.from_numpy(np.concatenate(values)).to(device)

        planes = tensor([r.planes for r in runs]).contiguous(memory_format=torch.channels_last)
        places = tensor([r.places for r in runs])[:, None].expand(-1, planes.shape[-2])
        mean, log_scale = network(planes, places, tensor([r.facts for r in runs]))
        parts = mean[:, 0].split([len(r.truth) for r in runs])
        fine = torch.cat([run.consistent(part) for run, part in zip(runs, parts, strict=True)])
        error = fine - tensor([r.truth for r in runs])
        return judgement(error, log_scale[:, 0], torch.ones_like(error[:, :1, :1]))

    def batch(self, rng: Generator) -> list[Run]:
        """Draw runs, each with its own factor and sampling."""
        runs: list[Run] = []
        while sum(len(r.truth) for r in runs) < self.count:
            sampling = SAMPLINGS[int(rng.integers(2))]
            runs.append(self._run(rng, round(drawn_factor(rng, sampling)), sampling))
        return runs

    def _run(self, rng: Generator, factor: int, sampling: Sampling) -> Run:
        need = Need(factor)
        fine = self.runs.draw(rng, need)
        thick = degraded(fine, factor, sampling)
        if rng.random() < self.simulation.noise:
            level = np.float32(rng.uniform(0, self.simulation.noise_max))
            thick = thick + level * grain(rng, thick.shape)
        own = need.before * factor
        rows = range(own, own + factor) if sampling == "slab" else range(own + 1, own + factor)
        start = stretched(thick, factor, sampling, range(len(fine)))
        positions = [position(j, factor, sampling) for j in rows]
        below = [int(np.floor(p)) for p in positions]
        planes = [
            np.concatenate((thick[b - 1 : b + 1], start[j][None], thick[b + 1 : b + 1 + SEEN]))
            for j, b in zip(rows, below, strict=True)
        ]
        return Run(
            planes=np.stack(planes),
            truth=fine[rows.start : rows.stop],
            places=np.array([p - b for p, b in zip(positions, below, strict=True)], np.float32),
            facts=np.array([facts_of(factor, sampling == "slab", sides=True)] * len(rows), np.float32),
            slab=thick[need.before] if sampling == "slab" else None,
        )
