"""Fine-tuning a method on the user's own volume: the one job that the dock and the command line both run.

Laws: the bundled files are never touched; the output appears whole or not at all; a run that is killed goes on from
its checkpoint and its description, which lie beside the output (:mod:`napari_emsynth.training.job`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get_by_name
from napari_emsynth.methods.public import public
from napari_emsynth.methods.train_input import check_checkpoint, check_place, completed, crop, naming, ranges
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.training.data import TrainingData, closed_up, split
from napari_emsynth.training.job import TrainingJob
from napari_emsynth.training.loop import OnStep, Trained, fit
from napari_emsynth.training.options import TrainOptions
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Recipe
from napari_emsynth.trust.intact import LeftOut, left_out
from napari_emsynth.volume import Volume
from napari_emsynth.weights import store
from napari_emsynth.weights.card import Card
from napari_emsynth.weights.own import SCRATCH

Roi = tuple[slice, slice, slice]

# Fine-tuning starts from good weights, without the moments that their optimiser had: its first steps are as long as the
# rate, whatever the gradient. At 3e-4 they fell below the start and it swayed later; at 1e-4 it only rose (medulla).
LR_FINE = 1e-4
LR_SCRATCH = 1e-3
# Seconds of training between validations. Every one writes a checkpoint, so even with a slow validation no more than a
# minute is lost by a kill; a short run has a dozen of them, so that its curves say something.
VALIDATE_EVERY, VALIDATIONS, SHORTEST = 30.0, 12, 5.0


@dataclass(frozen=True)
class Draft:
    """The moving average at a validation.

    Args:
        scores: of the validation, with ``step`` and ``seconds``.
        write: (file) writes it as weights, with a card beside them.
    """

    scores: dict[str, float]
    write: Callable[[Path], Card]


OnDraft = Callable[[Draft], None]


@public
def train(
    name: str,
    volume: Volume,
    out: Path | str,
    options: TrainOptions,
    runtime: Runtime,
    *,
    roi: Roi | Sequence[slice] | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Fine-tune a method on the very volume it will mend; no labels are needed.

    Args:
        name: task and id, such as "interpolate/emsynth".
        volume: [z, y, x] a Volume or an array.
        out: the .safetensors file to write, with its card beside it.
        roi: three slices z, y, x to learn from; None takes everything.
        on_step: called after every step with its number, the seconds and budget spent, and its terms.
        {options}

    Returns:
        See :func:`run`.

    Raises:
        InputError: an unknown method, one that cannot be trained, a volume too small.
    """
    job = TrainingJob(
        method=name,
        out=str(out),
        **options.values(),
        roi=None if roi is None else ranges(roi, volume),
        device=runtime.device,
        seed=runtime.seed,
        data=volume.name,
        voxel_nm=volume.grid.voxel_nm,
    )
    return run(job, volume, runtime=runtime, on_step=on_step)


def run(
    job: TrainingJob,
    volume: Volume,
    *,
    runtime: Runtime = Runtime(),
    on_step: OnStep | None = None,
    on_draft: OnDraft | None = None,
) -> dict[str, Any]:
    """Do a training job.

    Args:
        job: what to do.
        volume: what to learn from, but for what looks damaged; the last 15 % are held out for validation.
        runtime: cancel token and where to send notes; device and seed are the job's.
        on_step: called after every step with its terms; may block to pause, and raise Cancelled to leave at once.
        on_draft: called at every validation.

    Returns:
        JSON object: method, objective, weights (id, sha256) and file (None both where nothing beat the start and it was
        not to be saved anyway), ``gained``, steps, seconds, device, validation before and after, sections left out, and
        whether the budget was spent (False after a cancel: the best so far is written all the same).

    Raises:
        InputError: a method that cannot be trained, weights that do not fit it, a region or a volume too small, a
            checkpoint of something else, a full disk, a lost GPU.
        Cancelled: from ``on_step``.
    """
    job = completed(job)
    spec = get_by_name(job.method)
    check_place(spec, job.path)
    plan = plan_of(job)
    device = resolve(job.device)
    tensors, card, objective = starting_weights(spec, job.start, job.objective)
    region = crop(volume, job.slices)
    damage = left_out(region, runtime=Runtime(cancel=runtime.cancel))
    found = damage.shifted(job.slices[0].start if job.slices else 0)
    make = recipe_of(spec, objective, job.only)
    recipe = _taught(lambda data: make(data, tensors, None if card is None else card.config), region, damage, runtime)
    if tensors is not None and card is not None:
        # Weights that do not fit are refused before anything is written.
        store.fill(recipe.build(), tensors, card.id, spec.name)
    check_checkpoint(job, recipe)
    for line in found.notices("training and validation"):
        runtime.note(line)
    job.write()
    try:
        with naming(job.checkpoint, device):
            trained = fit(
                recipe,
                plan,
                job.checkpoint,
                device=device,
                seed=job.seed,
                resume=job.resume,
                on_step=on_step,
                on_check=None if on_draft is None else _drafts(spec, recipe, card, on_draft),
                cancel=runtime.cancel,
                note=runtime.note,
            )
        kept = trained.gained or job.save_anyway or tensors is None
        written = _write(spec, job, objective, recipe, trained, str(device)) if kept else None
    except BaseException:
        if not job.checkpoint.exists():
            # Nothing to go on from.
            job.description.unlink(missing_ok=True)
        raise
    if trained.finished:
        job.forget()
    return report(job, objective, written, trained, str(device)) | {"left_out": found.to_json()}


def _taught(make: Callable[[TrainingData], Recipe], region: Volume, damage: LeftOut, runtime: Runtime) -> Recipe:
    """Return a recipe that learns from the intact sections of a region.

    From those that adjoin each other; where damage leaves too short runs for the method, those before and after a
    damaged one are taken for neighbours: a false alarm must not be costly.

    Raises:
        InputError: a region that is too small.
    """
    try:
        return make(split(region, without=damage.sections))
    except InputError:
        if not damage.kinds:
            raise
        recipe = make(split(closed_up(region, damage.sections)))
    runtime.note("between damaged sections are too few for this method: those around them count as neighbours")
    return recipe


def report(job: TrainingJob, objective: str, card: Card | None, trained: Trained, device: str) -> dict[str, Any]:
    """Return the outcome as a JSON object; ``card`` is of the weights that were written, None where none were."""
    return {
        "method": job.method,
        "objective": objective,
        "weights": None if card is None else {"id": card.id, "sha256": card.sha256},
        "file": None if card is None else str(job.path),
        "gained": trained.gained,
        "steps": trained.counters.step,
        "seconds": round(trained.counters.seconds, 1),
        "device": device,
        "before": trained.start,
        "after": trained.best,
        "finished": trained.finished,
    }


def recipe_of(spec: MethodSpec, objective: str, only: str | None) -> Callable[..., Recipe]:
    """Return a method's recipe, perhaps for one of its parts.

    Raises:
        InputError: a part, of a method that is learned as a whole.
    """
    recipe = spec.recipes[objective]
    if only is None:
        return recipe
    if "only" not in signature(recipe).parameters:
        raise InputError(f"{spec.name} is learned as a whole: it has no part {only!r} to train")
    return partial(recipe, only=only)


def plan_of(job: TrainingJob) -> Plan:
    """Return budget and rates."""
    seconds = None if job.minutes is None else 60 * job.minutes
    every = VALIDATE_EVERY if seconds is None else min(VALIDATE_EVERY, max(SHORTEST, seconds / VALIDATIONS))
    return Plan(
        seconds=seconds, steps=job.steps, lr=LR_SCRATCH if job.start == SCRATCH else LR_FINE, validate_every=every
    )


def starting_weights(
    spec: MethodSpec, start: str | None, objective: str | None = None
) -> tuple[dict[str, Tensor] | None, Card | None, str]:
    """Return tensors and card to start from (None and None from scratch) and the objective to train for.

    Nothing named, that are the weights made for the objective, where there are some, or the method's default ones.

    Raises:
        InputError: no such weights, weights of another method, damaged ones; no such objective.
    """
    if objective is not None and objective not in spec.recipes:
        raise InputError(f"objective {objective!r} of {spec.name} is not one of {', '.join(spec.recipes)}")
    default = next(iter(spec.recipes))
    if start == SCRATCH or (start is None and not spec.weights):
        return None, None, objective or default
    # Bundled weights are called after the objective that made them.
    made = objective if objective in spec.weights else spec.weights[0]
    tensors, card = store.load(spec.name, start or made)
    return tensors, card, objective or (card.objective if card.objective in spec.recipes else default)


def _drafts(
    spec: MethodSpec, recipe: Recipe, card: Card | None, on_draft: OnDraft
) -> Callable[[dict[str, Tensor], dict[str, float]], None]:
    """Return what the loop calls at validations."""

    @cache
    def facts() -> dict[str, Any]:
        # Measuring them takes as long as a validation; of weights that were loaded they are known.
        if card is not None:
            return {name: getattr(card, name) for name in ("config", "factor", "factors", "voxel_nm")}
        return recipe.facts(recipe.network().eval(), resolve("cpu"))

    def check(state: dict[str, Tensor], scores: dict[str, float]) -> None:
        def write(path: Path) -> Card:
            draft = Card(id=path.stem, method=spec.name, name=path.stem, **facts())
            return store.write(path, path.with_suffix(".toml"), state, draft)

        on_draft(Draft(scores, write))

    return check


def _write(spec: MethodSpec, job: TrainingJob, objective: str, recipe: Recipe, trained: Trained, device: str) -> Card:
    """Write the best weights with their card."""
    network = recipe.network()
    network.load_state_dict({k: v.cpu() for k, v in trained.state.items()})
    facts = recipe.facts(network.eval(), resolve("cpu"))
    path = job.path
    card = Card(
        id=path.stem,
        method=spec.name,
        name=path.stem,
        objective=objective,
        data=recipe.data.name,
        licence="as the volume it was trained on",
        steps=trained.counters.step,
        seconds=round(trained.counters.seconds, 1),
        device=device,
        figures={"validation": trained.best},
        **facts,
    )
    try:
        return store.write(path, path.with_suffix(".toml"), trained.state, card)
    except InputError as error:
        raise InputError(f"{error}; the best so far is in checkpoint {job.checkpoint}") from None
