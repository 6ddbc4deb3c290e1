"""Closing the dock or napari while something runs: it is cancelled and joined, and nothing is left."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from qtpy.QtWidgets import QApplication

from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.restore.canvas_menu import install, open_dock
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session


def forever(job: QueuedJob) -> None:
    for n in range(10**6):
        job.cancel.check()
        job.report(n, 10**6, "steps")
        time.sleep(0.002)


def running(session: Session, qtbot: Any) -> QueuedJob:
    job = session.queue.submit(QueuedJob("long", forever))
    qtbot.waitUntil(lambda: job.state == "running")
    return job


@pytest.mark.parametrize("how", ["hide button", "cross"])
def test_closing_the_dock_cancels(raw_viewer: Any, qtbot: Any, finish: Any, how: str) -> None:
    session = install(raw_viewer).session
    repairs = RestoreTask.of(session)
    dock = open_dock(repairs)
    finish(session)
    job = running(session, qtbot)
    if how == "cross":
        dock.parent().destroyOnClose()
    else:
        dock.parent().close()
    finish(session)
    assert job.state == "cancelled"
    assert open_dock(repairs) is (dock if how == "hide button" else repairs.dock())
    finish(session)
    repairs.dock().leave()
    session.close()


def test_closing_the_window_cancels_and_joins(make_napari_viewer: Any, qtbot: Any, finish: Any) -> None:
    viewer = make_napari_viewer(show=True)
    session = install(viewer).session
    job = running(session, qtbot)
    viewer.close()
    qtbot.waitUntil(lambda: session.is_closed, timeout=5000)
    assert job.state == "cancelled"
    assert not [t for t in threading.enumerate() if t.name == "emsynth-jobs"]


def test_two_viewers_do_not_share(make_napari_viewer: Any) -> None:
    a, b = (install(make_napari_viewer()).session for _ in range(2))
    assert a is not b
    a.close()
    b.close()


def test_a_layer_removed_while_it_is_repaired(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any
) -> None:
    repairs.set_settings(replace(repairs.settings, method="linear", with_mask=False))
    layer = viewer.add_image(stack, name="stack")
    repairs.interpolate_at(layer, 4)
    viewer.layers.remove(layer)
    finish(session)
    assert [x.name for x in viewer.layers] == ["stack restored"]


def test_the_activity_dock_shows_the_job(
    viewer: Any, session: Session, repairs: RestoreTask, qtbot: Any, finish: Any
) -> None:
    from napari.utils import progress

    job = session.queue.submit(QueuedJob("Interpolate 3 sections", forever))
    qtbot.wait(300)
    assert not progress._all_instances, "a job that may be short shows no bar"
    qtbot.waitUntil(lambda: any("Interpolate 3 sections" in bar.desc for bar in progress._all_instances))
    job.cancel.cancel()
    finish(session)
    qtbot.waitUntil(lambda: not [bar for bar in progress._all_instances if "Interpolate" in bar.desc])


END = """
import napari, numpy as np
from dataclasses import replace
from qtpy.QtCore import QTimer
from napari_emsynth.plugin.restore.canvas_menu import install, open_dock
viewer = napari.Viewer(show=True)
layer = viewer.add_image(np.random.default_rng(0).integers(0, 255, (12, 256, 256), dtype=np.uint8))
task = install(viewer)
session = task.session
open_dock(task)
task.interpolate_at(layer, 5)
QTimer.singleShot({delay}, viewer.close)
napari.run()
print("ended")
"""


@pytest.mark.parametrize("delay", [0, 1200])
def test_napari_ends_cleanly_while_the_engine_loads_or_works(qapp: QApplication, delay: int) -> None:
    code = END.format(delay=delay)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "ended" in done.stdout
    for word in ("Traceback", "QThread", "Segmentation", "deleted"):
        assert word not in done.stderr, done.stderr
