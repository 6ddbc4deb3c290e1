"""What a training run was asked to do, as one value that outlives the program that runs it.

Beside the weights ``W.safetensors`` lie, until they are finished, the checkpoint ``W.ckpt.safetensors`` and the
description ``W.job.json``: together they are all that a later session needs. Laws: ``TrainingJob.from_json(j.to_json())
== j``; a description is there before the first step; reading one loads neither torch nor any weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple
from napari_emsynth.io.atomic import put
from napari_emsynth.training.options import TrainOptions

SUFFIX = ".safetensors"
CHECKPOINT, DESCRIPTION = ".ckpt.safetensors", ".job.json"
# A header of more than this is no checkpoint of ours: it would be read into memory whole.
LONGEST_HEADER = 1 << 26

Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class TrainingJob(TrainOptions):
    """One training run.

    Args:
        method: TASK/ID.
        out: the weights file, ``.safetensors``.
        roi: (first, last + 1) along z, y, x of the volume to learn from; None for everything.
        device: "auto", "cpu", "cuda", "cuda:n" or "mps".
        seed: of weights and samples.
        source: file the volume was read from, None when it came from elsewhere.
        chosen: which series, channel, time or level of the file, where one was chosen.
        data: what the user calls the volume.
        voxel_nm: of the volume, None when unknown.
        **options: see :class:`~napari_emsynth.training.options.TrainOptions`; neither minutes nor steps is right only
            where a description is gone on with.

    Raises:
        InputError: a file that is no ``.safetensors``, a budget or a region that makes no sense.
    """

    method: str
    out: str
    roi: Ranges | None = None
    device: str = "auto"
    seed: int = 0
    source: str | None = None
    chosen: Mapping[str, int] = field(default_factory=dict)
    data: str = ""
    voxel_nm: Triple | None = None

    def __post_init__(self) -> None:
        if self.path.suffix != SUFFIX or self.path.name.endswith(CHECKPOINT):
            raise InputError(f"weights are written as {SUFFIX}, not as {self.path.name!r}")
        if not (self.resume and self.minutes is None and self.steps is None):
            check_budget(self.minutes, self.steps)
        for axis, (low, high) in zip("zyx", self.roi or (), strict=False):
            if not 0 <= low < high:
                raise InputError(f"region {low}:{high} along {axis} is empty or starts below the limit of 0 voxels")

    @property
    def path(self) -> Path:
        """The weights file."""
        return Path(self.out)

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return self.path.with_name(self.path.stem + CHECKPOINT)

    @property
    def description(self) -> Path:
        """The file that holds this value."""
        return self.path.with_name(self.path.stem + DESCRIPTION)

    @property
    def slices(self) -> tuple[slice, slice, slice] | None:
        """The region as slices."""
        return None if self.roi is None else tuple(slice(*r) for r in self.roi)  # type: ignore[return-value]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Build from a JSON object.

        Raises:
            InputError: an unknown or missing entry, or a value that makes no sense.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"the training job has an unknown entry {unknown[0]!r}")
        given = dict(values)
        try:
            if given.get("roi") is not None:
                given["roi"] = tuple((int(low), int(high)) for low, high in given["roi"])
            if given.get("voxel_nm") is not None:
                given["voxel_nm"] = tuple(float(v) for v in given["voxel_nm"])
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise InputError(f"the training job makes no sense: {error}") from None

    def write(self) -> None:
        """Write the description beside the weights-to-be, whole or not at all.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        temporary = self.description.with_name(self.description.name + ".tmp")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self.to_json(), indent=2), encoding="utf-8")
            put(temporary, self.description)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise InputError(f"{self.description} could not be written: {error}") from None

    def forget(self) -> None:
        """Remove checkpoint and description; the weights stay."""
        self.description.unlink(missing_ok=True)
        self.checkpoint.unlink(missing_ok=True)


def check_budget(minutes: float | None, steps: int | None) -> None:
    """Refuse a budget that makes no sense.

    Raises:
        InputError: none, both, or one that is not above 0.
    """
    if (minutes is None) == (steps is None):
        raise InputError("training needs either a time in minutes or a number of steps, and not both")
    for name, value, unit in (("time", minutes, "minutes"), ("number of steps", steps, "steps")):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"training {name} of {value:g} {unit} is not above the limit of 0 {unit}")


def read_description(path: Path) -> TrainingJob:
    """Read a description; wherever it was moved, its weights lie beside it.

    Raises:
        InputError: not a description of ours.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a training job: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a training job: no JSON object")
    out = path.with_name(path.name.removesuffix(DESCRIPTION) + SUFFIX)
    return TrainingJob.from_json({**values, "out": str(out)})


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A run that was killed, or stopped before its budget was spent.

    Args:
        job: what it was asked to do.
        step: optimiser steps in its checkpoint.
        seconds: of training in it.
        history: one record a validation.
    """

    job: TrainingJob
    step: int
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def progress(self) -> float:
        """Share of the budget spent, 0 to 1."""
        job = self.job
        spent = self.seconds / (60 * job.minutes) if job.minutes else self.step / (job.steps or 1)
        return min(spent, 1.0)

    def describe(self) -> str:
        """Return its name and how far it came."""
        return f"{self.job.path.stem}: {self.job.method}, step {self.step}, {100 * self.progress:.0f} %"


def unfinished(job: TrainingJob) -> Unfinished:
    """Return how far a described run came.

    Raises:
        InputError: no usable checkpoint lies beside it.
    """
    counters = read_header(job.checkpoint)["counters"]
    try:
        return Unfinished(
            job=replace(job, resume=True),
            step=int(counters["step"]),
            seconds=float(counters["seconds"]),
            history=list(counters["history"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{job.checkpoint} is not a usable checkpoint: {error!r}") from None


def unfinished_in(folder: Path) -> list[Unfinished]:
    """Return the runs in a folder that can be gone on with, the latest first; unreadable ones are left out."""
    found = []
    for path in folder.glob(f"*{DESCRIPTION}"):
        try:
            found.append(unfinished(read_description(path)))
        except InputError:
            continue
    return sorted(found, key=lambda run: run.job.checkpoint.stat().st_mtime, reverse=True)


def read_header(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint says of itself (``counters``, ``fingerprint``), without reading its tensors.

    Raises:
        InputError: no file, or not a checkpoint of ours.
    """
    try:
        with checkpoint.open("rb") as file:
            # A safetensors file starts with the length of its header, a JSON object.
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError("its header is too long")
            said = json.loads(file.read(length))["__metadata__"]
        return {name: json.loads(said[name]) for name in ("counters", "fingerprint")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{checkpoint} is not a usable checkpoint: {error}") from None
