"""Training in stages: parts of one network learn one after another, each with an optimiser and a rate of its own.

Every stage gets a share of the budget, warms up, and ends at rate zero; what is not its own is held still. Laws: a run
that is killed and resumed goes on in the stage it was in, and never goes back to one that is over, whatever the new
budget; a stage leaves the parameters of the others as they are; the score of a later stage is above that of any
earlier one, and the last stage's is its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.tiling.transfer import channels_last
from napari_emsynth.training import checkpoint
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Divergence, Figures, Learner, Recipe, set_rate, told

# What a stage's score is lowered by for every stage that follows it; no score is as large.
STEP_OF_SCORES = 1000.0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a step of a stage is given.

    Args:
        rng: draws.
        device: to compute on.
        done: share of the stage that is over, 0 to 1.
        rival: the stage's discriminator, or None.
    """

    rng: Generator
    device: torch.device
    done: float
    rival: nn.Module | None


class Stage:
    """What one stage does; inherit from it.

    Attributes:
        name: of the stage, as options and logs call it.
        betas: of Adam.
        pace: its rates over the plan's.
        rival_pace: its discriminator's rates over the plan's.
    """

    name: str
    betas = (0.9, 0.99)
    pace = 1.0
    rival_pace = 1.0

    def parameters(self, network: nn.Module) -> list[nn.Parameter]:
        """What it trains."""
        raise NotImplementedError

    def rival(self) -> nn.Module | None:
        """Build the discriminator it trains on the side, or None."""
        return None

    def begin(self, network: nn.Module) -> None:
        """Prepare the network, once, before the first step."""

    def loss(self, network: nn.Module, turn: Turn) -> tuple[Tensor, Tensor | None, Figures]:
        """Draw a batch and return the loss, that of the discriminator (or None), and terms to log."""
        raise NotImplementedError

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Score held-out sections; must hold ``score``, higher is better, well within :data:`STEP_OF_SCORES`."""
        raise NotImplementedError


class StagedRecipe(Recipe):
    """What a method brings to be trained in stages.

    Attributes:
        stages: in order, each with its share of the budget; shares are relative to their sum.
    """

    stages: Sequence[tuple[Stage, float]]
    _learner: Stages | None = None

    def fingerprint(self) -> dict[str, Any]:
        """The recipe's, and which stages it goes through."""
        return super().fingerprint() | {"stages": [stage.name for stage, _ in self.stages]}

    def learner(self, plan: Plan, device: torch.device) -> Learner:
        """Return what goes through the stages."""
        self._learner = Stages(self, self.stages, plan, device)
        return self._learner

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Score by the judge of the stage that is on, or of the last one when none is."""
        last = len(self.stages) - 1
        at = last if self._learner is None else self._learner.at
        scores = self.stages[at][0].validate(network, device)
        return {**scores, "score": scores["score"] - STEP_OF_SCORES * (last - at), "stage": float(at)}


@dataclass
class _Running:
    """A stage: its share of the budget, what it moves, and what moves that."""

    stage: Stage
    share: float
    parameters: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    rival: nn.Module | None
    rival_optimiser: torch.optim.Optimizer | None
    begun: bool = False


class Stages:
    """Goes through stages; a :class:`~napari_emsynth.training.recipe.Learner`.

    Args:
        recipe: builds the network.
        stages: in order, with their shares of the budget.
        plan: the whole budget, and the rates that every stage goes through.
        device: to train on.

    Attributes:
        at: index of the stage that is on.
        spent: of the budget so far, seconds or steps as the plan counts.
        entered: what was spent when the stage that is on began.
        taken: steps of the stage that is on: moving averages must not go back to before it.
    """

    def __init__(self, recipe: Recipe, stages: Sequence[tuple[Stage, float]], plan: Plan, device: torch.device) -> None:
        assert all(share > 0 for _, share in stages), stages
        self.plan, self.device = plan, device
        self.at, self.spent, self.entered, self.taken = 0, 0.0, 0.0, 0
        self.network = channels_last(recipe.network().to(device))
        total = sum(share for _, share in stages)
        self.running = [self._prepared(stage, share / total) for stage, share in stages]

    def _prepared(self, stage: Stage, share: float) -> _Running:
        def adam(parameters: Any) -> torch.optim.Optimizer:
            return torch.optim.Adam(parameters, lr=self.plan.lr, betas=stage.betas)

        parameters, rival = stage.parameters(self.network), stage.rival()
        if rival is None:
            return _Running(stage, share, parameters, adam(parameters), None, None)
        rival = channels_last(rival.to(self.device))
        return _Running(stage, share, parameters, adam(parameters), rival, adam(rival.parameters()))

    @property
    def done(self) -> float:
        """Share of the stage that is on that is over, 0 to 1; the last one has all that is left."""
        whole = self.plan.seconds or float(self.plan.steps or 1)
        last = self.at == len(self.running) - 1
        length = whole - self.entered if last else whole * self.running[self.at].share
        return min(1.0, (self.spent - self.entered) / length) if length > 0 else 1.0

    def step(self, rng: Generator, rate: float) -> dict[str, float]:  # noqa: ARG002 - every stage has its own
        """Take one step of the stage that is on.

        Raises:
            Divergence: a loss is no number.
        """
        started = time.monotonic()
        while self.done >= 1 and self.at < len(self.running) - 1:
            self.at, self.entered, self.taken = self.at + 1, self.spent, 0
        running = self.running[self.at]
        self.network.requires_grad_(False)
        for parameter in running.parameters:
            parameter.requires_grad_(True)
        if not running.begun:
            running.stage.begin(self.network)
            running.begun = True
        terms = self._stepped(running, rng)
        self.taken += 1
        self.spent += 1.0 if self.plan.seconds is None else time.monotonic() - started
        return {**terms, "stage": float(self.at)}

    def _stepped(self, running: _Running, rng: Generator) -> dict[str, float]:
        stage, turn = running.stage, Turn(rng=rng, device=self.device, done=self.done, rival=running.rival)
        rate = self.plan.rate(turn.done)
        loss, rivalry, terms = stage.loss(self.network, turn)
        figures = told({**terms, "loss": loss, "rivalry": 0.0 if rivalry is None else rivalry})
        for value in (figures["loss"], figures.pop("rivalry")):
            if not math.isfinite(value):
                raise Divergence(f"the loss of stage {stage.name} became {value}")
        set_rate(running.optimiser, rate * stage.pace)
        running.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(running.parameters, self.plan.clip)
        running.optimiser.step()
        if rivalry is not None and running.rival_optimiser is not None:
            set_rate(running.rival_optimiser, rate * stage.rival_pace)
            # The loss above left gradients here too.
            running.rival_optimiser.zero_grad(set_to_none=True)
            rivalry.backward()  # type: ignore[no-untyped-call]
            running.rival_optimiser.step()
        return {**figures, "lr": rate * stage.pace}

    def state(self) -> dict[str, Tensor]:
        """Where it is, which stages have begun, their discriminators and all optimisers' moments."""
        where = torch.tensor([self.at, self.taken, self.spent, self.entered], dtype=torch.float64)
        begun = torch.tensor([float(running.begun) for running in self.running])
        found = {"where": where, "begun": begun}
        for running in self.running:
            name = running.stage.name
            found |= checkpoint.flat_optimiser(running.optimiser, f"opt-{name}")
            if running.rival is not None and running.rival_optimiser is not None:
                found |= {f"rival-{name}.{k}": v for k, v in running.rival.state_dict().items()}
                found |= checkpoint.flat_optimiser(running.rival_optimiser, f"rival-opt-{name}")
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        at, taken, self.spent, self.entered = state["where"].tolist()
        self.at, self.taken = int(at), int(taken)
        for running, begun in zip(self.running, state["begun"].tolist(), strict=True):
            name, running.begun = running.stage.name, bool(begun)
            checkpoint.restore_optimiser(running.optimiser, state, f"opt-{name}")
            if running.rival is not None and running.rival_optimiser is not None:
                prefix = f"rival-{name}."
                running.rival.load_state_dict(
                    {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                )
                checkpoint.restore_optimiser(running.rival_optimiser, state, f"rival-opt-{name}")
