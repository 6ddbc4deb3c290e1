"""Mirror a job queue in napari's activity dock, from the GUI thread only."""

from __future__ import annotations

import time

from napari.utils import progress
from qtpy.QtCore import QObject, Qt

from napari_emsynth.plugin.jobs.queue import JobQueue, QueuedJob

# A bar counts in parts of a thousand: stages of different length share it.
STEPS = 1000
# No bar is made meanwhile: painting one waits for the system's loader, which maps torch's libraries (0.4 s, measured).
LOADING = "loading the engine"
# Nor for a job that may be over by then: beside a bar napari turns a wheel, and every turn paints the whole window
# (20 a second; without a graphics card that took up to half of a core from the repair, measured).
BAR_AFTER_S = 2.0


class ActivityMirror(QObject):
    """Opens a bar for the job at work and closes it when the job is over."""

    def __init__(self, queue: JobQueue) -> None:
        super().__init__(queue)
        self._queue = queue
        self._bars: dict[QueuedJob, progress] = {}
        self._busy = False
        # Queued: moving a bar runs the event loop, which must not happen inside the caller of submit().
        queue.changed.connect(self.update, Qt.ConnectionType.QueuedConnection)

    def update(self) -> None:
        """Bring the bars up to date."""
        if self._busy:
            # Moving a bar runs the event loop, which may bring us here again.
            return
        self._busy = True
        try:
            running = [
                job
                for job in self._queue.visible_jobs
                if job.state == "running" and job.progress[2] != LOADING and has_lasted(job)
            ]
            for job in running:
                self._move(job)
            for job in [job for job in self._bars if job not in running]:
                self._bars.pop(job).close()
        finally:
            self._busy = False

    def close(self) -> None:
        """Take every bar away."""
        while self._bars:
            self._bars.popitem()[1].close()

    def _move(self, job: QueuedJob) -> None:
        if job not in self._bars:
            self._bars[job] = progress(total=STEPS, desc=job.title)
        bar = self._bars[job]
        done, total, _ = job.progress
        ahead = (STEPS * done // total if total else 0) - bar.n
        if ahead:
            bar.update(ahead)
        if bar.desc.rstrip(": ") != job.describe():
            bar.set_description(job.describe())


def has_lasted(job: QueuedJob) -> bool:
    """True once a job runs long enough for a bar."""
    return time.monotonic() - job.started_s >= BAR_AFTER_S
