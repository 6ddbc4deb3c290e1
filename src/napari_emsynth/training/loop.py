"""The training loop: a budget, a cosine, a moving average, validation against the floors, crash-safe checkpoints.

It knows a :class:`Recipe` and no method. Law: a run that is killed and resumed ends with the same counters as one
that was not, and never loses the best moving average found so far.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.spec import CancelToken
from napari_emsynth.training import checkpoint


class Recipe(Protocol):
    """What a method brings to be trained."""

    def fingerprint(self) -> dict[str, Any]:
        """JSON object that names method, configuration and data; a resumed run must equal it."""

    def network(self) -> nn.Module:
        """Build the network to train, starting weights loaded."""

    def loss(
        self, network: nn.Module, rng: Generator, device: torch.device
    ) -> tuple[Tensor, dict[str, float]]:
        """Draw a batch and return its loss and the terms to log."""

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Score held-out sections; must hold ``score``, higher is better."""


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


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome: the best moving average by validation, and how it was reached."""

    state: dict[str, Tensor]
    counters: checkpoint.Counters
    finished: bool


OnStep = Callable[[dict[str, float]], None]


class Trainer:
    """One run; see :func:`fit`."""

    def __init__(self, recipe: Recipe, plan: Plan, path: Path, device: torch.device, seed: int) -> None:
        self.recipe, self.plan, self.path, self.device, self.seed = recipe, plan, path, device, seed
        torch.manual_seed(seed)
        self.network = recipe.network().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=plan.lr, weight_decay=plan.decay)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.best = {k: v.clone() for k, v in self.average.items()}
        self.counters = checkpoint.Counters()

    def resume(self) -> None:
        """Continue from the checkpoint at ``path``.

        Raises:
            InputError: it belongs to another method, configuration or volume.
        """
        saved = checkpoint.load(self.path)
        if saved.fingerprint != self.recipe.fingerprint():
            raise InputError(f"checkpoint {self.path} belongs to another method, configuration or volume")
        self.network.load_state_dict(saved.network)
        self.average = {k: v.to(self.device) for k, v in saved.average.items()}
        self.best = {k: v.to(self.device) for k, v in saved.best.items()}
        checkpoint.restore_optimiser(self.optimiser, saved.optimiser)
        self.counters = saved.counters

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            self.path, network=self.network, average=self.average, best=self.best, optimiser=self.optimiser,
            counters=self.counters, fingerprint=self.recipe.fingerprint(),
        )  # fmt: skip

    def step(self, rng: Generator) -> dict[str, float]:
        """Take one optimiser step and return its terms."""
        rate = self.plan.rate(self.plan.progress(self.counters))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        loss, terms = self.recipe.loss(self.network, rng, self.device)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"loss became {loss.item()} at step {self.counters.step}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.optimiser.step()
        self.counters.step += 1
        self._update_average()
        return {**terms, "loss": float(loss.detach()), "lr": rate}

    def _update_average(self) -> None:
        # A short horizon at first: the start must not linger in the average.
        decay = 1 - 1 / min(self.plan.average, 1 + self.counters.step / 4)
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)

    def validate(self) -> dict[str, float]:
        """Score the moving average and keep it when it is the best so far."""
        current = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        with torch.inference_mode():
            scores = self.recipe.validate(self.network, self.device)
        self.network.load_state_dict(current)
        record = {"step": float(self.counters.step), "seconds": round(self.counters.seconds, 1), **scores}
        self.counters.history.append(record)
        if self.counters.best is None or scores["score"] > self.counters.best:
            self.counters.best = scores["score"]
            self.best = {k: v.clone() for k, v in self.average.items()}
        return record


def fit(
    recipe: Recipe,
    plan: Plan,
    path: Path,
    *,
    device: torch.device,
    seed: int = 0,
    resume: bool = False,
    on_step: OnStep | None = None,
    cancel: CancelToken | None = None,
) -> Trained:
    """Train until the budget is spent or the user cancels; the best moving average is never lost.

    Args:
        recipe: what to train, on what, and how it is scored.
        plan: budget and rates.
        path: of the checkpoint (safetensors).
        device: to train on.
        seed: of weights and samples.
        resume: continue from ``path`` when it exists.
        on_step: called after every step with its terms, and after validations with ``val_`` terms.
        cancel: asked after every step.

    Raises:
        InputError: the checkpoint cannot be written, or belongs to another run.
    """
    trainer = Trainer(recipe, plan, path, device, seed)
    if resume and path.exists():
        trainer.resume()
    counters = trainer.counters
    rng = np.random.default_rng([seed, counters.step])
    next_check = counters.seconds + (plan.validate_every if counters.history else 0.0)
    while plan.progress(counters) < 1.0 and not (cancel is not None and cancel.cancelled):
        started = time.monotonic()
        terms = _step_or_fall_back(trainer, rng)
        counters = trainer.counters
        counters.seconds += time.monotonic() - started
        if counters.seconds >= next_check:
            scores = trainer.validate()
            trainer.save()
            next_check = counters.seconds + plan.validate_every
            terms |= {f"val_{k}": v for k, v in scores.items()}
        if on_step is not None:
            on_step(
                {
                    "step": counters.step,
                    "seconds": counters.seconds,
                    "progress": plan.progress(counters),
                    **terms,
                }
            )
    trainer.validate()
    trainer.save()
    return Trained(state=trainer.best, counters=counters, finished=plan.progress(counters) >= 1.0)


def _step_or_fall_back(trainer: Trainer, rng: Generator) -> dict[str, float]:
    """Take a step; on divergence return to the last checkpoint (once written) and go on from there."""
    try:
        return trainer.step(rng)
    except FloatingPointError:
        if not trainer.path.exists():
            raise InputError(
                "training diverged before its first checkpoint: the volume's values are unusable"
            ) from None
        spent = trainer.counters.seconds
        trainer.resume()
        trainer.counters.seconds = spent
        return {"diverged": 1.0}
