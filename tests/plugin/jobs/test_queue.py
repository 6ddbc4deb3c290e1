"""Laws of the job queue: one at a time, in order, cancelled at every stage, no thread left."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs.queue import JobQueue, QueuedJob, format_seconds


@pytest.fixture
def queue(qapp: Any) -> Any:
    queue = JobQueue()
    yield queue
    queue.close()


def wait_for(job: QueuedJob) -> None:
    """Work until the job is cancelled."""
    while True:
        job.cancel.check()
        time.sleep(0.002)


def test_two_jobs_run_one_after_the_other(queue: JobQueue, qtbot: Any) -> None:
    busy, seen, order = threading.Lock(), [], []

    def work(job: QueuedJob) -> str:
        seen.append(busy.acquire(blocking=False))
        time.sleep(0.02)
        busy.release()
        return job.title

    for title in "abc":
        queue.submit(QueuedJob(title, work, on_done=order.append))
    assert len(queue.visible_jobs) == 3
    qtbot.waitUntil(lambda: not queue.is_busy)
    assert order == ["a", "b", "c"]
    assert seen == [True] * 3, "no two jobs at once"


def test_callbacks_come_in_the_gui_thread(queue: JobQueue, qtbot: Any) -> None:
    threads: list[Any] = []
    job = QueuedJob("x", lambda job: threads.append(threading.current_thread()),
              on_done=lambda _: threads.append(threading.current_thread()))  # fmt: skip
    queue.submit(job)
    qtbot.waitUntil(lambda: job.is_over)
    assert threads[0] is not threading.main_thread()
    assert threads[1] is threading.main_thread()


def test_cancel_while_waiting_and_while_running(queue: JobQueue, qtbot: Any) -> None:
    ended: list[str] = []
    running = QueuedJob("running", wait_for, on_cancelled=lambda: ended.append("running"))
    waiting = QueuedJob("waiting", wait_for, on_cancelled=lambda: ended.append("waiting"))
    queue.submit(running)
    queue.submit(waiting)
    qtbot.waitUntil(lambda: running.state == "running")
    assert waiting.describe() == "waiting: waiting"
    queue.cancel_all()
    qtbot.waitUntil(lambda: not queue.is_busy)
    assert ended == ["running", "waiting"]
    assert waiting.started_s == 0.0, "a job cancelled in the queue never starts"


def test_a_job_cancelled_after_its_work_shows_nothing(queue: JobQueue, qtbot: Any) -> None:
    done, cancelled = [], []
    job = QueuedJob("late", lambda job: 1, on_done=done.append, on_cancelled=lambda: cancelled.append(1))
    queue.submit(job)
    time.sleep(0.05)
    job.cancel.cancel()
    qtbot.waitUntil(lambda: job.is_over)
    assert (done, cancelled) == ([], [1])


@pytest.mark.parametrize(
    ("error", "line"),
    [(InputError("section 9 is outside"), "section 9 is outside"),
     (MemoryError(), "not enough memory"),
     (RuntimeError("two\nlines"), "RuntimeError: two"),
     (OSError("disk full"), "disk full")],
)  # fmt: skip
def test_a_failure_is_one_line(queue: JobQueue, qtbot: Any, error: Exception, line: str) -> None:
    lines: list[str] = []

    def work(job: QueuedJob) -> None:
        raise error

    job = queue.submit(QueuedJob("bad", work, on_failed=lines.append))
    qtbot.waitUntil(lambda: job.is_over)
    assert len(lines) == 1
    assert lines[0].startswith(line)
    assert "\n" not in lines[0]


def test_a_newer_job_with_the_same_key_takes_the_place(queue: JobQueue, qtbot: Any) -> None:
    done: list[int] = []
    first = queue.submit(QueuedJob("p", wait_for, key="preview"))
    second = queue.submit(QueuedJob("p", lambda job: 2, on_done=done.append, key="preview"))
    qtbot.waitUntil(lambda: not queue.is_busy)
    assert first.state == "cancelled"
    assert second.state == "done"
    assert done == [2]


def test_progress_has_an_eta(queue: JobQueue, qtbot: Any) -> None:
    go_on = threading.Event()

    def work(job: QueuedJob) -> None:
        job.report(0, 4, "tiles")
        time.sleep(0.55)
        job.report(2, 4, "tiles")
        go_on.wait(5)

    job = queue.submit(QueuedJob("Interpolate", work))
    qtbot.waitUntil(lambda: job.progress[0] == 2)
    text, eta = job.describe(), job.eta_s
    go_on.set()
    assert text.startswith("Interpolate: tiles, 2/4, ")
    assert text.endswith(" left")
    assert 0.5 < eta < 60
    assert format_seconds(150) == "2 min"


def test_close_joins_and_silences(qtbot: Any) -> None:
    queue, told = JobQueue(), []
    job = queue.submit(QueuedJob("long", wait_for, on_done=told.append, on_cancelled=lambda: told.append("c")))
    qtbot.waitUntil(lambda: job.state == "running")
    queue.close()
    assert not [t for t in threading.enumerate() if t.name == "emsynth-jobs"]
    assert queue.submit(QueuedJob("after", wait_for)).state == "cancelled"
    qtbot.wait(60)
    assert told == []


def test_loading_the_engine_leaves_the_collector_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    from napari_emsynth.plugin.jobs import engine

    def stop() -> None:
        assert not gc.isenabled()
        raise InputError("stopped")

    assert gc.isenabled()
    with pytest.raises(InputError):
        engine.load(stop)
    assert gc.isenabled()
    known = engine.load()
    assert known.spec("emsynth") is known.specs[0]
    assert known.devices[0] == "auto"
    assert known.why_no_gpu
