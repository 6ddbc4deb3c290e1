"""The trainings of one viewer: one at a time, in a thread of their own, so that repairs go on meanwhile.

Laws: a closed dock loses nothing, training goes on and is there again when the dock is opened; closing the window ends
it at once and leaves a checkpoint; nothing of the user's is overwritten.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.activity import ActivityMirror
from napari_emsynth.plugin.jobs.own_weights import own_weights
from napari_emsynth.plugin.jobs.queue import JobQueue, QueuedJob
from napari_emsynth.plugin.train.run import TrainingRun
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.training.job import TrainingJob, Unfinished, unfinished_in
from napari_emsynth.volume import Volume
from napari_emsynth.weights import own

# Outputs of the runs at work in this process, in all viewers: they are not to be gone on with.
_AT_WORK: set[Path] = set()


class TrainSession(QObject):
    """Starts, pauses and stops training, and knows what was left unfinished.

    Signals:
        changed: a run began, ended, was paused or went on; or an unfinished one was forgotten.
    """

    changed = Signal()

    @classmethod
    def of(cls, session: Session) -> TrainSession:
        """Return the session's trainings, made on first use."""
        return session.findChild(cls) or cls(session)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.queue = JobQueue(self)
        self._activity = ActivityMirror(self.queue)
        self.run: TrainingRun | None = None
        self.at_work: QueuedJob | None = None
        session.closing.connect(self.close)

    @property
    def is_running(self) -> bool:
        """True from the start of a run until it was delivered."""
        return self.at_work is not None

    def start(self, job: TrainingJob, volume: Volume, left: Unfinished | None = None) -> QueuedJob | None:
        """Begin (or go on with) a training; bad input is refused.

        Args:
            job: what to do.
            volume: to learn from.
            left: what the job goes on with.
        """

        def free() -> bool:
            if self.is_running:
                raise InputError("a training is running; stop it, or wait until it has ended")
            if not job.resume:
                check_free(job)
            return True

        if not self.session.attempt(free):
            return None
        run = TrainingRun(job, volume, () if left is None else left.history)
        work = QueuedJob(f"Train {job.path.stem}", run.work, owner="train")
        work.on_done = lambda _record: self._ended(run, work)
        work.on_cancelled = lambda: self._ended(run, work)
        work.on_failed = lambda line: self._failed(run, work, line)
        self.run, self.at_work = run, work
        _AT_WORK.add(job.path)
        self.queue.submit(work)
        self.changed.emit()
        return work

    def pause(self) -> None:
        """Pause, or go on."""
        if self.run is not None and self.is_running:
            if self.run.is_paused:
                self.run.go_on()
            else:
                self.run.pause()
            self.changed.emit()

    def stop(self) -> None:
        """End the run; its best weights are written."""
        if self.run is not None and self.is_running:
            self.run.stop()
            self.changed.emit()

    def unfinished(self) -> list[Unfinished]:
        """Return what can be gone on with, the latest first."""
        return [run for run in unfinished_in(own.folder()) if run.job.path not in _AT_WORK]

    def forget(self, left: Unfinished) -> None:
        """Remove an unfinished run; weights that were written stay."""
        left.job.forget()
        self.changed.emit()

    def close(self) -> None:
        """End at once, with a checkpoint, and wait for the thread."""
        if self.run is not None:
            self.run.leave()
        self.queue.close()
        self._activity.close()
        self._over()

    def _ended(self, run: TrainingRun, work: QueuedJob) -> None:
        """A run was delivered: done, or stopped by the user."""
        if run.record is None:
            run.failure = "stopped before the first step; nothing was written"
        self._over()
        if run.record is not None:
            own_weights().weights_changed.emit()
            notify.info(f"training {run.describe()}")
        for note in work.notes:
            notify.warn(note)

    def _failed(self, run: TrainingRun, work: QueuedJob, line: str) -> None:
        run.failure = line
        self._over()
        # Why it ended is said last: it stays on the screen.
        for told in (*work.notes, line):
            self.session.refuse(told)

    def _over(self) -> None:
        if self.run is not None:
            self.run.is_over = True
            _AT_WORK.discard(self.run.job.path)
        self.at_work = None
        self.changed.emit()


def check_free(job: TrainingJob) -> None:
    """Refuse a name that is taken.

    Raises:
        InputError: there are such weights, or an unfinished run of that name.
    """
    name = job.path.stem
    if job.path.exists():
        raise InputError(f"weights {name!r} are there already, in {job.path.parent}; choose another name")
    if job.checkpoint.exists():
        raise InputError(f"a training {name!r} is unfinished; go on with it, forget it, or choose another name")


def volume_for(job: TrainingJob, layers: list[Any], chosen: Any, read: Any) -> Any:
    """Return what an unfinished job learnt from: the layer of its file, the layer of its name, its file, or the chosen.

    Args:
        job: unfinished.
        layers: (name, file or None, layer) of each candidate.
        chosen: what to take when nothing fits; its voxels decide in the end.
        read: (file) reads one.
    """
    by_file = [layer for _, path, layer in layers if job.source and path == job.source]
    by_name = [layer for name, _, layer in layers if name == job.data]
    if by_file or by_name:
        return (by_file or by_name)[0]
    if job.source and Path(job.source).exists():
        return read(job.source)
    return chosen
