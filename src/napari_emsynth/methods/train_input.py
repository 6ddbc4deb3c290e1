"""What a training run refuses before its first step, and how it says what stopped it later.

Law: whatever goes wrong is one line that names the value, the limit and the unit, or the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from napari_emsynth.errors import InputError
from napari_emsynth.spec import MethodSpec
from napari_emsynth.tiling.device import free_bytes
from napari_emsynth.training.job import Ranges, TrainingJob, read_description, read_header
from napari_emsynth.training.recipe import Recipe
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Known, Volume
from napari_emsynth.weights import store

# Share of the free memory that the region to learn from may take: training makes copies of parts of it.
MEMORY_SHARE = 0.25
PACKAGE = store.HERE.parent


def completed(job: TrainingJob) -> TrainingJob:
    """Return a job that is to go on, with what it leaves open taken from its description.

    Raises:
        InputError: the weights are there, but nothing to go on from.
    """
    if not job.resume:
        return job
    if job.path.exists() and not job.checkpoint.exists():
        raise InputError(
            f"{job.path} is finished: no checkpoint lies beside it to go on from; "
            "start another training from these weights instead"
        )
    if not job.description.exists():
        return replace(job, resume=True)
    told = read_description(job.description)
    if told.method != job.method:
        raise InputError(f"checkpoint {job.checkpoint} belongs to {told.method}, not to {job.method}")
    open_budget = job.minutes is None and job.steps is None
    return replace(
        job,
        start=told.start if job.start is None else job.start,
        objective=told.objective if job.objective is None else job.objective,
        only=told.only if job.only is None else job.only,
        minutes=told.minutes if open_budget else job.minutes,
        steps=told.steps if open_budget else job.steps,
        roi=told.roi if job.roi is None else job.roi,
        seed=job.seed or told.seed,
        source=job.source or told.source,
    )


def check_place(spec: MethodSpec, path: Path) -> None:
    """Refuse what cannot be trained, and a file among our own.

    Raises:
        InputError: see above.
    """
    if not spec.recipes:
        raise InputError(f"{spec.name} has nothing to train")
    if path.resolve().is_relative_to(PACKAGE.resolve()):
        raise InputError(f"{path} is inside the installed package, where nothing is written; choose another folder")


def check_checkpoint(job: TrainingJob, recipe: Recipe) -> None:
    """Refuse to go on from a checkpoint of something else, before anything is written.

    Raises:
        InputError: another method, configuration, region or volume.
    """
    if job.resume and job.checkpoint.exists() and read_header(job.checkpoint)["fingerprint"] != recipe.fingerprint():
        raise InputError(f"checkpoint {job.checkpoint} belongs to another method, configuration, region or volume")


@contextmanager
def naming(checkpoint: Path, device: torch.device) -> Iterator[None]:
    """Turn a lost GPU and a lack of memory into one line that names the last checkpoint."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        without_memory = isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said
        if device.type == "cpu" and not without_memory:
            raise
        what = (
            f"not enough memory on {device} to train" if without_memory else f"device {device} was lost while training"
        )
        kept = f"the last checkpoint is {checkpoint}" if checkpoint.exists() else "no checkpoint was written yet"
        raise InputError(f"{what} ({said}); {kept}") from None


def ranges(roi: Sequence[slice], volume: Volume) -> Ranges:
    """Return a region as (first, last + 1) along z, y, x.

    Raises:
        InputError: not three slices, a region outside the volume, or empty.
    """
    if len(roi) != 3:
        raise InputError(f"the region has {len(roi)} ranges, needs 3: z, y, x")
    found = []
    for axis, s, n in zip("zyx", roi, volume.shape, strict=True):
        low, high = s.start or 0, n if s.stop is None else s.stop
        if not 0 <= low < high <= n:
            raise InputError(f"region {low}:{high} along {axis} is outside 0:{n} voxels or empty")
        found.append((low, high))
    return found[0], found[1], found[2]


def crop(volume: Volume, roi: Sequence[slice] | None) -> Volume:
    """Return the region of a volume, read into memory.

    Raises:
        InputError: a region outside the volume, empty, or larger than a quarter of the free memory.
    """
    cut = ((0, volume.shape[0]), (0, volume.shape[1]), (0, volume.shape[2])) if roi is None else ranges(roi, volume)
    size = volume.dtype.itemsize
    for low, high in cut:
        size *= high - low
    free = free_bytes(torch.device("cpu"))
    if free is not None and size > MEMORY_SHARE * free and (volume.is_lazy or roi is not None):
        raise InputError(
            f"the region to learn from is {size / 2**30:.1f} GiB, above the limit of {MEMORY_SHARE * free / 2**30:.1f} "
            "GiB (a quarter of the free memory); choose a smaller region"
        )
    if roi is None:
        return volume
    z, y, x = (slice(low, high) for low, high in cut)
    region = Volume.of(volume.read(z, y, x), voxel_nm=volume.grid.voxel_nm, name=volume.name)
    # Margins are those of the whole sections.
    found = Emptiness(volume)
    return replace(region, known=Known(empty=found[z, y, x])) if found.anywhere(range(*cut[0])) else region
