"""Crash-safe training checkpoints: safetensors for tensors, JSON for the rest; nothing is ever unpickled.

Law: a checkpoint is either wholly there or not at all, after a power loss too (temporary name, then rename), and
:func:`load` of :func:`save` restores network, moving average, optimiser and counters exactly.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import put


@dataclass(kw_only=True)
class Counters:
    """What a run has done so far.

    Args:
        step: optimiser steps.
        seconds: of training, over all sessions.
        fallbacks: times training diverged and went on from a checkpoint.
        best: the best validation figure so far, None before the first.
        history: one record a validation.
    """

    step: int = 0
    seconds: float = 0.0
    fallbacks: int = 0
    best: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)


def flat_optimiser(optimiser: torch.optim.Optimizer, prefix: str = "opt") -> dict[str, Tensor]:
    """Return the optimiser's tensors as ``<prefix>.<parameter index>.<name>``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value).cpu().contiguous()
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "opt") -> None:
    """Put back what :func:`flat_optimiser` returned; other entries are left alone."""
    packed = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == prefix:
            index, _, name = rest.partition(".")
            state.setdefault(int(index), {})[name] = value
    packed["state"] = state
    optimiser.load_state_dict(packed)


def save(
    path: Path,
    *,
    network: nn.Module,
    average: dict[str, Tensor],
    best: dict[str, Tensor],
    learner: dict[str, Tensor],
    counters: Counters,
    fingerprint: dict[str, Any],
) -> None:
    """Write a checkpoint.

    Args:
        path: the file; its folder is made.
        network: whose parameters are trained.
        average: their exponential moving average, by name.
        best: the moving average at the best validation, by name.
        learner: what else the learner remembers, by name: moments of optimisers, an adversary.
        counters: what was done so far.
        fingerprint: JSON object that a resuming run must equal (method, configuration, data).

    Raises:
        InputError: the disk is full or the folder cannot be written.
    """
    tensors = {f"net.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    tensors |= {f"avg.{k}": v.cpu().contiguous() for k, v in average.items()}
    tensors |= {f"best.{k}": v.cpu().contiguous() for k, v in best.items()}
    tensors |= {f"learner.{k}": v.detach().cpu().contiguous() for k, v in learner.items()}
    meta = {"counters": json.dumps(asdict(counters)), "fingerprint": json.dumps(fingerprint, sort_keys=True)}
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata=meta)
        put(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        kept = "; the last one there is kept" if path.exists() else ""
        raise InputError(f"checkpoint {path} could not be written: {error}{kept}") from None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What :func:`load` read."""

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    learner: dict[str, Tensor]
    counters: Counters
    fingerprint: dict[str, Any]


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        InputError: not a checkpoint of ours, or damaged.
    """
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "avg": {}, "best": {}, "learner": {}}
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 - not a dict
                kind, name = key.split(".", 1)
                parts[kind][name] = file.get_tensor(key)
        counters = Counters(**json.loads(meta["counters"]))
        fingerprint = json.loads(meta["fingerprint"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a usable checkpoint: {error}") from None
    return Checkpoint(
        network=parts["net"], average=parts["avg"], best=parts["best"], learner=parts["learner"],
        counters=counters, fingerprint=fingerprint,
    )  # fmt: skip
