"""What a method brings to be trained, and what takes the optimiser's steps.

A :class:`Recipe` knows data, network, loss and judge; a :class:`Learner` knows how to step. Plain gradient descent is
:class:`Descent`; Algorithm 1 of Jain 2017 is :mod:`napari_emsynth.training.adversarial`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

import torch
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.tiling.transfer import channels_last
from napari_emsynth.training import checkpoint
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan
from napari_emsynth.weights import store

# What a step has to say, by name: numbers, or tensors of one number that still lie on the device.
Figures = Mapping[str, Tensor | float]


class Divergence(ArithmeticError):  # noqa: N818 - what happened, not somebody's mistake
    """Training went astray: the loss is no number, or an adversary won or gave up. The text says how."""


class Learner(Protocol):
    """Takes optimiser steps; remembers what it needs between them.

    One that begins something new on the way may say ``taken``, the steps since: moving averages go back no further.
    """

    network: nn.Module

    def step(self, rng: Generator, rate: float) -> dict[str, float]:
        """Draw samples, take one step at the learning rate, return the terms to log (``loss`` among them).

        Raises:
            Divergence: nothing was spoilt yet, but going on is pointless.
        """

    def state(self) -> dict[str, Tensor]:
        """What it remembers beside the network, by name."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what :meth:`state` returned."""


class Recipe:
    """What a method brings to be trained; methods inherit from it.

    Attributes:
        method: TASK/ID.
        objective: name of the recipe, and of bundled weights made by it.
        voxel_nm: smallest and largest pixel size in nm the samples stand for.
        architecture: the network's class, made of one configuration.
        sizes: the configuration's class; ``sizes.from_json`` reads what a card says.
        data: what to learn from and to be scored on.
        config: of the architecture, a frozen dataclass.
        start: weights to start from, or None.
    """

    method: str
    objective: str
    voxel_nm: tuple[float, float]
    architecture: type[nn.Module]
    sizes: Any
    data: TrainingData
    config: Any
    start: dict[str, Tensor] | None

    def fingerprint(self) -> dict[str, Any]:
        """JSON object that names method, objective, configuration and data; a resumed run must equal it."""
        return {
            "method": self.method,
            "objective": self.objective,
            "config": json.loads(json.dumps(asdict(self.config))),  # tuples as a checkpoint gives them back
            "data": self.data.fingerprint(),
        }

    @classmethod
    def network_of(cls, config: Mapping[str, Any]) -> nn.Module:
        """Build the network that a card's configuration describes, untrained."""
        return cls.architecture(cls.sizes.from_json(config))

    def build(self) -> nn.Module:
        """Build the network, untrained."""
        return self.architecture(self.config)

    def network(self) -> nn.Module:
        """Build the network to train, starting weights loaded.

        Raises:
            InputError: the starting weights are of another configuration.
        """
        network = self.build()
        if self.start is not None:
            store.fill(network, self.start, "to start from", self.method)
        return network

    def facts(self, network: nn.Module, device: torch.device) -> dict[str, Any]:  # noqa: ARG002 - for those who measure
        """Return what the card needs to know of the trained network: ``config``, ``voxel_nm``, perhaps ``factor``."""
        return {"config": asdict(self.config), "voxel_nm": self.voxel_nm}

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, Figures]:
        """Draw a batch and return its loss and the terms to log."""
        raise NotImplementedError

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Score held-out sections; must hold ``score``, higher is better."""
        raise NotImplementedError

    def learner(self, plan: Plan, device: torch.device) -> Learner:
        """Return what takes the steps; gradient descent on :meth:`loss` unless a recipe says otherwise."""
        return Descent(self, plan, device)


class Descent:
    """AdamW on a recipe's loss, gradients clipped."""

    def __init__(self, recipe: Recipe, plan: Plan, device: torch.device) -> None:
        self.recipe, self.plan, self.device = recipe, plan, device
        self.network = channels_last(recipe.network().to(device))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=plan.lr, weight_decay=plan.decay)

    def step(self, rng: Generator, rate: float) -> dict[str, float]:
        """Take one optimiser step and return its terms."""
        set_rate(self.optimiser, rate)
        loss, terms = self.recipe.loss(self.network, rng, self.device)
        figures = told({**terms, "loss": loss})
        if not math.isfinite(figures["loss"]):
            raise Divergence(f"the loss became {figures['loss']}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.optimiser.step()
        return figures

    def state(self) -> dict[str, Tensor]:
        """The optimiser's moments."""
        return checkpoint.flat_optimiser(self.optimiser)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        checkpoint.restore_optimiser(self.optimiser, state)


def told(figures: Figures) -> dict[str, float]:
    """Return figures as plain numbers; those that lie on a device come in one copy, for each one is waited for."""
    there = {name: value.detach().float() for name, value in figures.items() if isinstance(value, Tensor)}
    here = torch.stack(list(there.values())).cpu().tolist() if there else []
    return {name: float(value) for name, value in {**figures, **dict(zip(there, here, strict=True))}.items()}


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter."""
    for group in optimiser.param_groups:
        group["lr"] = rate
