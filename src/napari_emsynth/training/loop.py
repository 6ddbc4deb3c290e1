"""The training loop: a budget, a cosine, a moving average, validation against the floors, crash-safe checkpoints.

It knows a recipe (:mod:`napari_emsynth.training.recipe`) and no method. Law: a run that is killed and resumed ends
with the same counters as one that was not, and never loses the best moving average found so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken, no_note
from napari_emsynth.tiling.threads import fitting, threads
from napari_emsynth.training import checkpoint
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Divergence, Recipe


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome: the best moving average by validation, and how it was reached."""

    state: dict[str, Tensor]
    counters: checkpoint.Counters
    finished: bool

    @property
    def start(self) -> dict[str, float]:
        """The validation before the first step."""
        return self.counters.history[0]

    @property
    def best(self) -> dict[str, float]:
        """The validation of what is kept; the first of equal ones."""
        return max(self.counters.history, key=lambda record: record["score"])

    @property
    def gained(self) -> bool:
        """True when something beat the start."""
        return self.best["score"] > self.start["score"]


OnStep = Callable[[dict[str, float]], None]
OnCheck = Callable[[dict[str, Tensor], dict[str, float]], None]

# A run that is killed loses this much of its work at most, s.
SAVE_EVERY = 60.0
# Divergences a run survives; then the data or the settings are to blame.
MAX_FALLBACKS = 5


class Trainer:
    """One run; see :func:`fit`."""

    def __init__(self, recipe: Recipe, plan: Plan, path: Path, device: torch.device, seed: int) -> None:
        self.recipe, self.plan, self.path, self.device, self.seed = recipe, plan, path, device, seed
        torch.manual_seed(seed)
        self.learner = recipe.learner(plan, device)
        self.network = self.learner.network
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
        self.learner.restore(saved.learner)
        self.counters = saved.counters

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            self.path, network=self.network, average=self.average, best=self.best, learner=self.learner.state(),
            counters=self.counters, fingerprint=self.recipe.fingerprint(),
        )  # fmt: skip

    def step(self, rng: Generator) -> dict[str, float]:
        """Take one optimiser step and return its terms."""
        rate = self.plan.rate(self.plan.progress(self.counters))
        self.network.train()
        with threads(fitting()):
            terms = self.learner.step(rng, rate)
        self.counters.step += 1
        self._update_average()
        return {"lr": rate, **terms}

    def _update_average(self) -> None:
        # A short horizon at first: the start must not linger in the average.
        taken = getattr(self.learner, "taken", self.counters.step)
        decay = 1 - 1 / min(self.plan.average, 1 + taken / 4)
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
        with torch.inference_mode(), threads(fitting()):
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
    on_check: OnCheck | None = None,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
) -> Trained:
    """Train until the budget is spent or the user cancels; the best moving average is never lost.

    The start is validated before the first step. The checkpoint is written at every validation after it, and once a
    minute between them.

    Args:
        recipe: what to train, on what, and how it is scored.
        plan: budget and rates.
        path: of the checkpoint (safetensors).
        device: to train on.
        seed: of weights and samples.
        resume: continue from ``path`` when it exists.
        on_step: called after every step with its terms, and after validations with ``val_`` terms. The time it takes
            does not count: to pause, do not return; to leave at once, raise Cancelled: the checkpoint is written first.
        on_check: called after every validation with the moving average and its scores.
        cancel: asked after every step.
        note: called with one line when training fell back to a checkpoint.

    Raises:
        InputError: the checkpoint cannot be written, or belongs to another run.
        Cancelled: from ``on_step``.
    """
    trainer = Trainer(recipe, plan, path, device, seed)
    if resume and path.exists():
        trainer.resume()
    counters = trainer.counters
    if not counters.history:
        # What there was before the first step is what every later one has to beat.
        scores = trainer.validate()
        if on_check is not None:
            on_check(trainer.average, scores)
    next_check = counters.seconds + plan.validate_every
    # From the first step on there is something to go on with.
    next_save = counters.seconds + (SAVE_EVERY if path.exists() else 0.0)
    while plan.progress(counters) < 1.0 and not (cancel is not None and cancel.cancelled):
        started = time.monotonic()
        terms = _step_or_fall_back(trainer, note)
        counters = trainer.counters
        counters.seconds += time.monotonic() - started
        if counters.seconds >= next_check:
            scores = trainer.validate()
            trainer.save()
            if on_check is not None:
                on_check(trainer.average, scores)
            next_check = counters.seconds + plan.validate_every
            next_save = counters.seconds + SAVE_EVERY
            terms |= {f"val_{k}": v for k, v in scores.items()}
        elif counters.seconds >= next_save:
            trainer.save()
            next_save = counters.seconds + SAVE_EVERY
        if on_step is not None:
            _tell(trainer, on_step, terms)
    trainer.validate()
    trainer.save()
    return Trained(state=trainer.best, counters=counters, finished=plan.progress(counters) >= 1.0)


def _tell(trainer: Trainer, on_step: OnStep, terms: dict[str, float]) -> None:
    """Report a step; who listens may leave, and then finds everything in the checkpoint."""
    counters = trainer.counters
    spent = {"step": counters.step, "seconds": counters.seconds, "progress": trainer.plan.progress(counters)}
    try:
        on_step({**spent, **terms})
    except Cancelled:
        trainer.save()
        raise


def _step_or_fall_back(trainer: Trainer, note: Callable[[str], None]) -> dict[str, float]:
    """Take a step; on divergence return to the last checkpoint (once written) and go on from there."""
    counters = trainer.counters
    # Fresh random numbers a step, the same ones whether the run was interrupted or not.
    rng = np.random.default_rng([trainer.seed, counters.step, counters.fallbacks])
    try:
        return trainer.step(rng)
    except Divergence as reason:
        if not trainer.path.exists():
            raise InputError(f"training diverged before its first checkpoint: {reason}") from None
        if counters.fallbacks >= MAX_FALLBACKS:
            raise InputError(
                f"training diverged {counters.fallbacks + 1} times ({reason}), the limit is {MAX_FALLBACKS}; "
                f"the best so far is in {trainer.path}"
            ) from None
        trainer.resume()
        note(
            f"training diverged at step {counters.step} ({reason}); "
            f"it went on from the checkpoint of step {trainer.counters.step}"
        )
        trainer.counters.seconds, trainer.counters.fallbacks = counters.seconds, counters.fallbacks + 1
        return {"diverged": 1.0}
