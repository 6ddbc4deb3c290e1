"""Work off the GUI thread: one queue a viewer, one job at a time, each with a cancel token, progress and an
ETA.

Laws: a job's work runs in a worker thread and touches no layer and no widget; everything it reports is
delivered in the GUI thread, by a timer that runs only while there is work; a queue without work has no
thread; after :meth:`JobQueue.close` nothing is delivered any more and the thread has ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken, Runtime

State = Literal["queued", "running", "done", "cancelled", "failed"]
POLL_MS = 25
# An ETA from less than this much work is a guess that jumps about.
ETA_AFTER_S = 0.5
logger = logging.getLogger(__name__)


def nothing(*_args: Any) -> None:
    """Do nothing: the default callback."""


class QueuedJob:
    """One piece of work and what is known of it.

    Args:
        title: a few words for a progress bar.
        work: (job) -> value, run in the worker thread; asks ``job.cancel.check()`` now and then.
        on_done: (value), called in the GUI thread.
        on_failed: (one line), called in the GUI thread.
        on_cancelled: called in the GUI thread.
        quiet: True for work the user did not ask for: no bar.
        key: a newer job with the same key takes the place of this one (auto preview).
        owner: the dock it belongs to; "" for everything about marked sections.
    """

    def __init__(
        self,
        title: str,
        work: Callable[[QueuedJob], Any],
        *,
        on_done: Callable[[Any], None] = nothing,
        on_failed: Callable[[str], None] = nothing,
        on_cancelled: Callable[[], None] = nothing,
        quiet: bool = False,
        key: str = "",
        owner: str = "",
    ) -> None:
        self.title, self.work, self.quiet, self.key, self.owner = title, work, quiet, key, owner
        self.on_done, self.on_failed, self.on_cancelled = on_done, on_failed, on_cancelled
        self.cancel = CancelToken()
        self.state: State = "queued"
        self.progress: tuple[int, int, str] = (0, 0, "")
        self.notes: list[str] = []
        self.started_s = 0.0
        self._stage_s = 0.0

    @property
    def is_over(self) -> bool:
        """True when the job was delivered: done, cancelled or failed."""
        return self.state in ("done", "cancelled", "failed")

    def report(self, done: int, total: int, message: str) -> None:
        """Take progress from the worker thread."""
        if message != self.progress[2] or done < self.progress[0]:
            # A new stage counts anew, and so does its clock.
            self._stage_s = time.monotonic()
        self.progress = (done, total, message)

    def runtime(self, **options: Any) -> Runtime:
        """Return a runtime that reports to this job and is cancelled with it."""
        return Runtime(progress=self.report, cancel=self.cancel, note=self.notes.append, **options)

    @property
    def eta_s(self) -> float | None:
        """Seconds left of the stage at hand, None while it cannot be told."""
        done, total, _ = self.progress
        spent = time.monotonic() - self._stage_s
        if self.state != "running" or not 0 < done < total or spent < ETA_AFTER_S:
            return None
        return spent * (total - done) / done

    def describe(self) -> str:
        """Return one line: what is being done, how far, how long still."""
        if self.state == "queued":
            return f"{self.title}: waiting"
        if self.cancel.cancelled:
            return f"{self.title}: stopping"
        done, total, message = self.progress
        parts = [self.title if not message else f"{self.title}: {message}"]
        # "0/1" says nothing.
        if total > 1:
            parts.append(f"{done}/{total}")
        if self.eta_s is not None:
            parts.append(f"{format_seconds(self.eta_s)} left")
        return ", ".join(parts)


def format_seconds(seconds: float) -> str:
    """Return "8 s", "2 min" or "1 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class JobQueue(QObject):
    """Runs jobs one after the other.

    Signals:
        changed: some job's state or progress changed.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.jobs: list[QueuedJob] = []
        self._waiting: deque[QueuedJob] = deque()
        self._outcomes: deque[tuple[QueuedJob, State, Any]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._delivering = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._deliver)

    @property
    def visible_jobs(self) -> list[QueuedJob]:
        """Jobs the user asked for that are not over, the running one first."""
        return [job for job in self.jobs if not job.quiet]

    @property
    def is_busy(self) -> bool:
        """True while any job, quiet or not, is not over."""
        return bool(self.jobs)

    def submit(self, job: QueuedJob) -> QueuedJob:
        """Queue a job; one with the same key that is not over gives way."""
        if self._closed:
            job.state = "cancelled"
            return job
        for other in self.jobs:
            if job.key and other.key == job.key:
                other.cancel.cancel()
        self.jobs.append(job)
        with self._lock:
            self._waiting.append(job)
            if self._thread is None:
                # Not a daemon: a thread killed inside torch at exit brings the process down.
                self._thread = threading.Thread(target=self._run, name="emsynth-jobs")
                self._thread.start()
        self._timer.start()
        self.changed.emit()
        return job

    def visible_of(self, owner: str) -> list[QueuedJob]:
        """Return the visible jobs of one dock."""
        return [job for job in self.visible_jobs if job.owner == owner]

    def cancel_all(self, *, quiet_too: bool = False, owner: str | None = None) -> None:
        """Ask every job (of one dock, if given) to stop; those still waiting will never start."""
        for job in self.jobs:
            if (quiet_too or not job.quiet) and owner in (None, job.owner):
                job.cancel.cancel()
        self.changed.emit()

    def close(self) -> None:
        """Cancel everything, wait for the thread to end, and deliver nothing more."""
        self._closed = True
        for job in self.jobs:
            job.cancel.cancel()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._timer.stop()
        for job in self.jobs:
            job.state = "cancelled"
        self.jobs.clear()
        self._outcomes.clear()

    def _run(self) -> None:
        """Worker thread: work until nothing waits, then end."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                job = self._waiting.popleft()
            self._outcomes.append((job, *self._attempt(job)))

    def _attempt(self, job: QueuedJob) -> tuple[State, Any]:
        """Run one job; return how it ended and its value, or the line that says why it has none."""
        try:
            job.cancel.check()
            job.started_s = job._stage_s = time.monotonic()
            job.state = "running"
            return "done", job.work(job)
        except Cancelled:
            return "cancelled", None
        except (InputError, OSError) as error:
            return "failed", first_line(error)
        except MemoryError:
            return "failed", "not enough memory: choose a smaller tile, or the lazy option"
        except Exception as error:
            logger.exception("%s failed", job.title)
            return "failed", f"{type(error).__name__}: {first_line(error)}"

    def _deliver(self) -> None:
        """GUI thread: hand over what came back and tell who watches."""
        if self._delivering:
            # A callback ran the event loop (napari's progress bars do): this round goes on there.
            return
        self._delivering = True
        try:
            while self._outcomes and not self._closed:
                job, state, value = self._outcomes.popleft()
                job.state = "cancelled" if job.cancel.cancelled else state
                self.jobs.remove(job)
                self._call_back(job, value)
        finally:
            self._delivering = False
        if not self.jobs:
            self._timer.stop()
        self.changed.emit()

    @staticmethod
    def _call_back(job: QueuedJob, value: Any) -> None:
        if job.state == "done":
            job.on_done(value)
        elif job.state == "failed":
            job.on_failed(value)
        else:
            job.on_cancelled()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
