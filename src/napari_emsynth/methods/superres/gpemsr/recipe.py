"""How GPEMSR is trained, one recipe a factor: the codebook, the indexer, the flow, the fusion, the reconstruction.

One run goes through all stages, each with its share of the budget; or through those that are named. Stage I knows
nothing of the low-resolution sections but their units, so a run can start from the weights of the other factor: then it
takes over the codebook alone. A run that starts from weights leaves the codebook as it is, because the other parts
refer to it; and parts that are left out of the network have no stage. The reconstruction starts where the bundled
single-stage network of the factor ended, where that is of its size: what it learns is what the prior and the alignment
add.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.confidence import measured
from napari_emsynth.methods.superres.gpemsr.codebook import CodebookStage
from napari_emsynth.methods.superres.gpemsr.flow import FlowStage
from napari_emsynth.methods.superres.gpemsr.indexer import IndexerStage
from napari_emsynth.methods.superres.gpemsr.reconstruction import FusionStage, ReconstructionStage
from napari_emsynth.methods.superres.scoring.held_out import answered
from napari_emsynth.methods.superres.single_stage.method import SPEC as PLAIN
from napari_emsynth.methods.superres.single_stage.recipe import FINE_NM
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config, founded
from napari_emsynth.models.single_stage import Config as Plain
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.samples.reductions import Simulation
from napari_emsynth.training.stages import Stage, StagedRecipe
from napari_emsynth.weights import store

# Shares of the budget, in order; without a fusion the reconstruction has both.
SHARES = {"codebook": 0.30, "indexer": 0.10, "flow": 0.04, "fusion": 0.28, "reconstruction": 0.28}
WHOLE = {name: share for name, share in SHARES.items() if name != "fusion"}
WHOLE["reconstruction"] += SHARES["fusion"]
# Crops of the codebook's stage: so many of this edge in px; a code looks no further.
CODEBOOK_BATCH, CODEBOOK_SIZE = 4, 128
# Low-resolution px of the other crops, and how many fine px there are in a step.
LOW_SIZE, FINE_PIXELS = 24, 150_000
SIZES = {"slim": Config.slim, "paper": Config.paper}
# What is simulated for stages I and II: the codebook has to serve sections of any contrast, and of both factors' units.
SINGLE = Simulation(contrast=0.7)


class Recipe(StagedRecipe):
    """What is common to both factors (see :mod:`napari_emsynth.training.recipe`).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, of this network or, for the codebook, of that for another factor; or None.
        config: sizes of the network as JSON; what is left out is as in the slim configuration, or with
            ``{"sizes": "paper"}`` as in the paper's.
        simulation: what is simulated for stage III; None for the defaults.
        batch: samples a step of stages II and III; None for 150 000 fine px a step.
        size: edge of their fine crops in px; None for 24 low-resolution px, or 20 from a factor of 16.
        only: the stages to go through, with commas between; None for all, but the codebook's where ``start`` is given.

    Raises:
        InputError: a configuration of another factor, sizes or a stage there are not.
    """

    method = "superres/gpemsr"
    architecture, sizes = GPEMSR, Config
    factor: int

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation | None = None,
        batch: int | None = None,
        size: int | None = None,
        only: str | None = None,
    ) -> None:
        self.data, self.start = data, start
        chosen = dict(config or {})
        sizes = chosen.pop("sizes", "slim")
        if sizes not in SIZES:
            raise InputError(f"sizes {sizes!r} are not among {', '.join(SIZES)}")
        self.config = Config.from_json(asdict(SIZES[sizes](self.factor)) | chosen)
        if self.config.factor != self.factor:
            raise InputError(
                f"objective {self.objective} trains networks of factor {self.factor}, "
                f"these weights are of factor {self.config.factor}"
            )
        self.voxel_nm = (FINE_NM[0] * self.factor, FINE_NM[1] * self.factor)
        self.size = size or self.factor * (LOW_SIZE if self.factor < 16 else 20)
        self.count = batch or max(1, round(FINE_PIXELS / self.size**2))
        self.simulation = simulation or Simulation()
        shares = SHARES if self._takes_over() else WHOLE
        self.stages = [(self._stage(name), shares[name]) for name in self._names(only, shares)]

    def _names(self, only: str | None, possible: Iterable[str]) -> list[str]:
        """Return the stages to go through, in order."""
        absent = [] if self.config.mpf else ["codebook", "indexer"]
        absent += [] if self.config.pod else ["flow"]
        known = [name for name in possible if name not in absent]
        if only is None:
            return [name for name in known if self.start is None or name != "codebook"]
        chosen = [name.strip() for name in only.split(",")]
        for name in chosen:
            if name not in known:
                raise InputError(f"{name!r} is no stage of this network; known: {', '.join(known)}")
        return [name for name in known if name in chosen]

    @property
    def _goes_on(self) -> bool:
        """Whether the starting weights are of this very network."""
        if self.start is None:
            return False
        with torch.device("meta"):
            own = GPEMSR(self.config).state_dict()
        return {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in self.start.items()}

    def _takes_over(self) -> bool:
        """Whether there is a trained network that the fusion is added to."""
        return self.config.direct and (self._goes_on or self._fits_plain())

    def _fits_plain(self) -> bool:
        """Whether the direct path is of the bundled single-stage network's sizes."""
        if self.objective not in PLAIN.weights:
            return False
        c = self.config
        own = Plain(factor=c.factor, sections=c.sections, width=c.deep, blocks=c.rebuild, fine=c.fine)
        return own == Plain.from_json(store.read_card(PLAIN.name, self.objective).config)

    def _stage(self, name: str) -> Stage:
        """Build a stage."""
        if name == "flow":
            return FlowStage(self.data, self.config)
        if name == "codebook":
            step = 4 * self.factor
            edge = max(CODEBOOK_SIZE // step, 1) * step
            return CodebookStage(
                self.data, self.config, simulation=SINGLE, batch=CODEBOOK_BATCH, size=min(edge, self.size)
            )
        kind = {"indexer": IndexerStage, "fusion": FusionStage}.get(name, ReconstructionStage)
        simulation = SINGLE if name == "indexer" else self.simulation
        return kind(self.data, self.config, simulation=simulation, batch=self.count, size=self.size)

    def network(self) -> nn.Module:
        """Build the network to train, starting weights loaded; of another factor's, the codebook alone.

        What no starting weights are given for starts at random, or from the single-stage network.

        Raises:
            InputError: the starting weights are of another configuration.
        """
        network = self.build()
        assert isinstance(network, GPEMSR)
        if self.objective in PLAIN.weights:
            founded(network, store.load(PLAIN.name, self.objective)[0])
        if self.start is None:
            return network
        if not self.config.mpf or self._goes_on:
            store.fill(network, self.start, "to start from", self.method)
            return network
        prefix = "vqgan."
        codebook = {k.removeprefix(prefix): v for k, v in self.start.items() if k.startswith(prefix)}
        store.fill(network.vqgan, codebook, "to start from", self.method)
        return network

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return what the card needs: the configuration, and how wide intervals must be."""
        return super().facts(network, device) | measured(
            self.data.held_out, self.factor, self.config.sections, lambda case: answered(network, case, device)[:2]
        )


class X8(Recipe):
    """Eight times finer."""

    objective = "x8"
    factor = 8


class X16(Recipe):
    """Sixteen times finer."""

    objective = "x16"
    factor = 16
