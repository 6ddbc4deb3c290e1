"""One training run: what it does in the worker thread, and what the window sees of it meanwhile.

Laws: the worker alone writes and the window only reads, except for the three switches pause, stop and leave; a pause
costs nothing of the budget; stopping writes the best weights so far, leaving writes a checkpoint only.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.plugin.jobs.activity import LOADING
from napari_emsynth.plugin.jobs.engine import load, no_collection
from napari_emsynth.plugin.jobs.queue import QueuedJob, first_line, format_seconds
from napari_emsynth.plugin.train.preview import Panel, TaskPreview
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.training.job import TrainingJob
from napari_emsynth.volume import Volume

# How soon a paused run notices that it is stopped.
PAUSE_POLL_S = 0.1
# What torch's optimisers import when they take their first step (2 s), and what is ours.
MODULES = ("torch._dynamo", "napari_emsynth.methods.train")
# Points of the loss that are kept; beyond twice as many, neighbours are joined.
CURVE_POINTS = 500
PER_MILLE = 1000


class Curve:
    """A curve that never grows beyond what a plot can show: neighbours are averaged when it gets long."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._stride = 1
        self._open: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Append a point."""
        self._open.append((x, y))
        if len(self._open) < self._stride:
            return
        points = [*self.points, _mean(self._open)]
        self._open = []
        if len(points) >= 2 * CURVE_POINTS:
            points = [_mean(points[i : i + 2]) for i in range(0, len(points), 2)]
            self._stride *= 2
        # One assignment: the window may be reading.
        self.points = points


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


class TrainingRun:
    """A job at work.

    Args:
        job: what to do.
        volume: to learn from.
        checks: records of validations of an earlier session.
    """

    def __init__(self, job: TrainingJob, volume: Volume, checks: Sequence[dict[str, float]] = ()) -> None:
        self.job, self.volume = job, volume
        self.loss = Curve()
        self.checks: list[dict[str, float]] = list(checks)
        self.panels: tuple[Panel, ...] = ()
        self.terms: dict[str, float] = {}
        self.record: dict[str, Any] | None = None
        self.failure = ""
        self.is_over = False
        self._going = threading.Event()
        self._going.set()
        self._leaving = False
        self._stop, self._end_preview = CancelToken(), CancelToken()

    @property
    def is_paused(self) -> bool:
        """True between :meth:`pause` and :meth:`go_on`."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Stop after the step at hand, until :meth:`go_on`."""
        self._going.clear()

    def go_on(self) -> None:
        """End the pause."""
        self._going.set()

    def stop(self) -> None:
        """End after the step at hand; the best weights are written."""
        self._stop.cancel()
        self._end_preview.cancel()

    @property
    def is_stopping(self) -> bool:
        """True from :meth:`stop` on."""
        return self._stop.cancelled

    def leave(self) -> None:
        """End after the step at hand with a checkpoint only: the window closes."""
        self._leaving = True
        self._end_preview.cancel()

    def describe(self) -> str:
        """Return one line: how far, and how well."""
        if self.record is not None:
            return self._describe_end()
        if self.failure:
            return self.failure
        if not self.terms:
            return "loading, then the first step..."
        budget = f" of {self.job.minutes:g} min" if self.job.minutes else ""
        steps = f" of {self.job.steps}" if self.job.steps else ""
        parts = [f"step {self.terms['step']:.0f}{steps}", f"{format_seconds(self.terms['seconds'])}{budget}"]
        if "loss" in self.terms:
            parts.append(f"loss {self.terms['loss']:.3g}")
        state = " - stopping" if self.is_stopping else " - paused" if self.is_paused else ""
        return ", ".join(parts) + state

    def _describe_end(self) -> str:
        assert self.record is not None
        before, after = self.record["before"]["score"], self.record["after"]["score"]
        word = "finished" if self.record["finished"] else "stopped"
        if self.record["file"] is None:
            return (
                f"{word} after {self.record['steps']} steps: nothing gained. On held-out sections no step beat the "
                f"weights it started from (score {before:.2f}); nothing was saved"
            )
        return (
            f"{word} after {self.record['steps']} steps: score {before:.2f} before, {after:.2f} at its best; "
            f"saved as {self.job.path.stem}"
        )

    # -- in the worker thread ----------------------------------------------------------------------

    def work(self, job: QueuedJob) -> dict[str, Any]:
        """Train; returns the record, which stopping leaves behind too."""
        ready_to_train(job)
        from napari_emsynth.methods.train import run

        self._stop.check()
        self._end_preview.check()
        with one_core_left(), TemporaryDirectory(prefix="emsynth-") as folder:
            preview = self._preview(job)

            def draft(found: Any) -> None:
                self.checks = [*self.checks, dict(found.scores)]
                if preview is not None and not self._end_preview.cancelled:
                    self._draw(preview, found, Path(folder), job)

            self.record = run(
                self.job,
                self.volume,
                runtime=Runtime(cancel=self._stop, note=job.notes.append),
                on_step=lambda terms: self._stepped(terms, job),
                on_draft=draft,
            )
        return self.record

    def _preview(self, job: QueuedJob) -> TaskPreview | None:
        """Return what redraws a section of the volume, None where there is no such thing."""
        try:
            return TaskPreview.of(self.job, self.volume)
        except InputError as reason:
            job.notes.append(f"no preview: {reason}")
            return None

    def _draw(self, preview: TaskPreview, found: Any, folder: Path, job: QueuedJob) -> None:
        """Redraw the preview; what goes wrong there must not end the training."""
        path = folder / "draft.safetensors"
        try:
            found.write(path)
            self.panels = preview.panels(str(path), self._end_preview)
        except Cancelled:
            return
        except (InputError, MemoryError, RuntimeError) as reason:
            if not any(note.startswith("no preview") for note in job.notes):
                job.notes.append(f"no preview: {first_line(reason)}")

    def _stepped(self, terms: dict[str, float], job: QueuedJob) -> None:
        """Take a step's terms; block while paused."""
        if "loss" in terms:
            self.loss.add(terms["step"], terms["loss"])
        self.terms = dict(terms)
        job.report(int(PER_MILLE * terms["progress"]), PER_MILLE, "")
        while not (self._leaving or self._stop.cancelled or self._going.wait(PAUSE_POLL_S)):
            pass
        if self._leaving:
            raise Cancelled("the window closes")


def ready_to_train(job: QueuedJob) -> None:
    """Load all that the first step would import: under way, it would hold the window up again and again."""
    job.report(0, 0, LOADING)
    load(job.cancel.check)
    with no_collection():
        for name in MODULES:
            job.cancel.check()
            importlib.import_module(name)
    job.report(0, 0, "")


@contextmanager
def one_core_left() -> Iterator[None]:
    """Compute with one core less than there are: the window needs it."""
    from napari_emsynth.tiling.threads import fitting, threads

    with threads(fitting(spare=1)):
        yield
