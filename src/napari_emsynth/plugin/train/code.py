"""Copy as code: the same training in Python and as one line for a terminal.

Law: both make the :class:`~napari_emsynth.training.job.TrainingJob` that the dock makes.
"""

from __future__ import annotations

import shlex

from napari_emsynth.plugin.copy_as_code import code_text, read_code
from napari_emsynth.training.job import TrainingJob
from napari_emsynth.volume import Volume


def as_code(job: TrainingJob, volume: Volume) -> str:
    """Return the text for the clipboard: Python, then a comment with the command line."""
    words = [repr(job.method), "volume", repr(job.out), *(f"{k}={v}" for k, v in _keywords(job).items())]
    call = f"es.train({', '.join(words)})"
    return code_text(
        volume,
        job.source,
        lambda source: [*read_code(volume, source), call],
        lambda source: command_line(job, volume, source),
    )


def _keywords(job: TrainingJob) -> dict[str, str]:
    """Return what is not at its default, as Python."""
    words = {name: repr(value) for name, value in job.keywords().items()}
    if job.roi is not None:
        words["roi"] = f"({', '.join(f'slice({low}, {high})' for low, high in job.roi)})"
    if job.device != "auto":
        words["device"] = repr(job.device)
    if job.seed:
        words["seed"] = repr(job.seed)
    return words


def command_line(job: TrainingJob, volume: Volume, source: str) -> str:
    """Return one line for a terminal."""
    words = ["emsynth", "train", job.method, source, "--out", job.out]
    words += job.words()
    if job.roi is not None:
        words += ["--roi", ",".join(f"{low}:{high}" for low, high in job.roi)]
    words += ["--device", job.device] if job.device != "auto" else []
    words += ["--seed", f"{job.seed}"] if job.seed else []
    if volume.grid.voxel_nm:
        words += ["--voxel-size", ",".join(f"{v:g}" for v in volume.grid.voxel_nm)]
    return shlex.join(words)
