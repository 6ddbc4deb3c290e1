"""Fine-tuning a method on the user's own volume: the one job that the dock and the command line both run.

Laws: the bundled files are never touched; the output appears whole or not at all; a run that is killed goes on from
its checkpoint, ``W.ckpt.safetensors`` beside the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get_by_name
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.training.data import TrainingData, split
from napari_emsynth.training.loop import OnStep, Trained, fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.volume import Volume
from napari_emsynth.weights import store
from napari_emsynth.weights.card import Card

Roi = tuple[slice, slice, slice]

# Fine-tuning starts from good weights: a tenth of the rate they were made with.
LR_FINE = 3e-4
LR_SCRATCH = 1e-3
VALIDATE_EVERY = 60.0


def train(
    name: str,
    volume: Volume,
    out: Path | str,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    start: str | None = None,
    resume: bool = False,
    roi: Roi | Sequence[slice] | None = None,
    runtime: Runtime = Runtime(),
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Train a method on a volume and write its weights and card.

    Args:
        name: TASK/ID.
        volume: intact sections; the last 15 % are held out for validation.
        out: the weights file, ``.safetensors``.
        minutes: budget in minutes; one of ``minutes`` and ``steps``.
        steps: budget in optimiser steps.
        start: weights to start from, a name or a file; "scratch" for none; None for the method's default.
        resume: go on from this output's checkpoint, if there is one.
        roi: slices z, y, x of the volume to learn from.
        runtime: device, seed and cancel token.
        on_step: called after every step with its terms.

    Returns:
        JSON object: method, weights (id, sha256), file, steps, seconds, device, validation before and after, and
        whether the budget was spent (False after a cancel: the best so far is written all the same).

    Raises:
        InputError: a method that cannot be trained, a bad ROI, too few sections, a disk that is full.
    """
    spec = get_by_name(name)
    if not spec.recipes:
        raise InputError(f"{name} has nothing to train")
    path = Path(out)
    if path.suffix != ".safetensors":
        raise InputError(f"weights are written as .safetensors, not as {path.name!r}")
    plan = Plan(
        seconds=None if minutes is None else 60 * minutes,
        steps=steps,
        lr=LR_SCRATCH if start == "scratch" else LR_FINE,
        validate_every=VALIDATE_EVERY,
    )
    device = resolve(runtime.device)
    data = split(crop(volume, roi))
    tensors, config, objective = starting_weights(spec, start)
    recipe = spec.recipes[objective](data, tensors, config)
    checkpoint = path.with_name(path.stem + ".ckpt.safetensors")
    trained = fit(
        recipe,
        plan,
        checkpoint,
        device=device,
        seed=runtime.seed,
        resume=resume,
        on_step=on_step,
        cancel=runtime.cancel,
        note=runtime.note,
    )
    card = _write(spec, path, objective, recipe, trained, data, str(device))
    checkpoint.unlink(missing_ok=True) if trained.finished else None
    history = trained.counters.history
    return {
        "method": name,
        "weights": {"id": card.id, "sha256": card.sha256},
        "file": str(path),
        "steps": trained.counters.step,
        "seconds": round(trained.counters.seconds, 1),
        "device": str(device),
        "before": history[0],
        "after": max(history, key=lambda record: record["score"]),
        "finished": trained.finished,
    }


def starting_weights(
    spec: MethodSpec, start: str | None
) -> tuple[dict[str, Tensor] | None, dict[str, Any] | None, str]:
    """Return tensors, configuration and objective to start from; (None, None, the default) from scratch."""
    default = next(iter(spec.recipes))
    if start == "scratch":
        return None, None, default
    tensors, card = store.load(spec.name, start or spec.weights[0])
    return tensors, card.config, card.objective if card.objective in spec.recipes else default


def crop(volume: Volume, roi: Roi | Sequence[slice] | None) -> Volume:
    """Return the region of a volume, read into memory.

    Raises:
        InputError: a region outside the volume, or empty.
    """
    if roi is None:
        return volume
    if len(roi) != 3:
        raise InputError(f"the region has {len(roi)} ranges, needs 3: z, y, x")
    ranges = []
    for axis, s, n in zip("zyx", roi, volume.shape, strict=True):
        low, high = s.start or 0, n if s.stop is None else s.stop
        if not 0 <= low < high <= n:
            raise InputError(f"region {low}:{high} along {axis} is outside 0:{n} voxels or empty")
        ranges.append(slice(low, high))
    block = volume.read(*ranges)
    return Volume.of(block, voxel_nm=volume.grid.voxel_nm, name=volume.name)


def _write(
    spec: MethodSpec,
    path: Path,
    objective: str,
    recipe: Any,
    trained: Trained,
    data: TrainingData,
    device: str,
) -> Card:
    network = recipe.network()
    network.load_state_dict({k: v.cpu() for k, v in trained.state.items()})
    facts = recipe.facts(network.eval(), resolve("cpu"))
    best = max(trained.counters.history, key=lambda record: record["score"])
    card = Card(
        id=path.stem,
        method=spec.name,
        name=path.stem,
        objective=objective,
        data=data.name,
        licence="as the volume it was trained on",
        steps=trained.counters.step,
        seconds=round(trained.counters.seconds, 1),
        device=device,
        figures={"validation": best},
        **facts,
    )
    return store.write(path, path.with_suffix(".toml"), trained.state, card)
