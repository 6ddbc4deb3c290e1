"""A whole session in the real window, as a user goes through it; each step leaves a picture.

Set EMSYNTH_PICTURES to a folder to keep the pictures (docs/images is made this way).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu, QOpenGLWidget

from napari_emsynth import samples
from napari_emsynth.io import read, read_provenance, read_synthetic
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session

PLUGIN = "napari-emsynth"
# A damaged section of the sample, and three others.
BLANK = 22


class Film:
    """Takes the pictures."""

    def __init__(self, viewer: Any, folder: Path) -> None:
        self.viewer, self.folder, self.count = viewer, folder, 0

    def take(self, name: str) -> np.ndarray:
        QApplication.processEvents()
        self.count += 1
        path = self.folder / f"{self.count:02d}-{name}.png"
        return self.viewer.screenshot(str(path), canvas_only=False, flash=False)


def canvas() -> QOpenGLWidget:
    """Return the one canvas on the screen."""
    (found,) = [w for w in QApplication.allWidgets() if isinstance(w, QOpenGLWidget) and w.isVisible()]
    return found


def right_click(qtbot: Any, position: QPoint) -> QMenu:
    """Click on the canvas; return the menu that opened."""
    # The pointer must be known to be there before it presses.
    QTest.mouseMove(canvas(), position)
    qtbot.wait(50)
    QTest.mouseClick(canvas(), Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, position)
    qtbot.waitUntil(lambda: isinstance(QApplication.activePopupWidget(), QMenu), timeout=5000)
    return QApplication.activePopupWidget()


def pick(menu: QMenu, start: str) -> None:
    """Choose the entry that starts with ``start``."""
    (action,) = [a for a in menu.actions() if a.text().startswith(start)]
    action.trigger()
    menu.close()


class Probe:
    """Longest time between two turns of the event loop, in ms."""

    def __init__(self) -> None:
        import time

        self.worst_ms, self._clock, self._last = 0.0, time.perf_counter, None
        self.timer = QTimer()
        self.timer.setInterval(5)
        self.timer.timeout.connect(self._tick)
        self.timer.start()

    def _tick(self) -> None:
        now = self._clock()
        if self._last is not None:
            self.worst_ms = max(self.worst_ms, 1000 * (now - self._last) - 5)
        self._last = now


@pytest.fixture
def film(make_napari_viewer: Callable[..., Any], tmp_path: Path) -> Film:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 860)
    kept = os.environ.get("EMSYNTH_PICTURES")
    return Film(viewer, Path(kept) if kept else tmp_path)


@pytest.mark.window
def test_a_session(film: Film, qtbot: Any, finish: Callable[..., None], tmp_path: Path) -> None:
    viewer = film.viewer
    (source,) = viewer.open_sample(PLUGIN, "damaged")
    session = Session.of(viewer)
    repairs = RestoreTask.of(session)
    assert repairs.settings.method == "emsynth"
    before = np.array(source.data)
    viewer.dims.set_point(0, BLANK * 10.0)
    qtbot.wait(100)
    film.take("open-sample")

    # Right-click at a chosen position of the canvas.
    middle = canvas().rect().center()
    menu = right_click(qtbot, middle)
    titles = [a.text() for a in menu.actions()]
    assert titles[0] == f"Interpolate missing slice (z={BLANK})"
    film.take("right-click")
    grab(menu, film)
    pick(menu, "Interpolate missing slice")
    finish(session)
    restored = viewer.layers["damaged sample restored"]
    assert restored.metadata["emsynth"]["sections"][0]["section"] == BLANK
    assert not np.array_equal(restored.data[BLANK], before[BLANK])
    np.testing.assert_array_equal(np.delete(restored.data, BLANK, 0), np.delete(before, BLANK, 0))
    film.take("interpolated")

    # The dock; preview another section. From here on the fast method, unless pictures are made.
    repairs.set_settings(replace(repairs.settings, method=os.environ.get("EMSYNTH_METHOD", "linear")))
    pick(right_click(qtbot, middle), "Restore sections")
    dock = repairs.dock()
    finish(session)
    dock.layer_box.choose(source.unique_id)
    viewer.layers.selection.active = source
    viewer.dims.set_point(0, 140.0)
    menu = right_click(qtbot, middle)
    pick(menu, "Preview here")
    finish(session)
    assert repairs.preview.section == 14
    film.take("preview")
    repairs.end_preview()

    # Mark three: one from the dock, one from the canvas menu, one missing.
    dock.add_damaged.click()
    viewer.dims.set_point(0, 60.0)
    pick(right_click(qtbot, middle), "Mark as damaged")
    viewer.dims.set_point(0, 300.0)
    dock.add_missing.click()
    assert [(m.section, m.treatment) for m in repairs.marks_of(source)] == [
        (6, "replace"), (14, "replace"), (30, "insert"),
    ]  # fmt: skip
    film.take("marked")

    # Run, and cancel at once; then run to the end.
    layers = len(viewer.layers)
    dock.job_bar.button.click()
    assert dock.job_bar.button.text() == "Cancel"
    qtbot.wait(30)
    dock.job_bar.button.click()
    finish(session)
    assert len(viewer.layers) == layers
    assert dock.job_bar.button.text() == "Run"
    dock.job_bar.button.click()
    qtbot.waitUntil(lambda: session.queue.visible_jobs[0].progress[1] > 0 or True, timeout=20_000)
    qtbot.wait(150)
    film.take("running")
    finish(session)
    result = viewer.layers["damaged sample restored [1]"]
    assert result.data.shape[0] == 49
    record = result.metadata["emsynth"]
    assert [[e["section"] for e in step["sections"]] for step in (record["previous"], record)] == [[6, 14], [30]]
    assert all(m.score for m in repairs.marks_of(source)), "the self-check's figures are in the table"
    viewer.dims.set_point(0, 140.0)
    film.take("result")
    viewer.dims.set_point(0, 60.0)

    # Undo, redo.
    dock.history.undo.click()
    assert "damaged sample restored [1]" not in viewer.layers
    film.take("undone")
    dock.history.redo.click()
    assert "damaged sample restored [1]" in viewer.layers

    # Export, and open it again.
    for suffix in (".ome.tif", ".ome.zarr"):
        path = tmp_path / f"mended{suffix}"
        session.export(viewer.layers["damaged sample restored [1]"], path)
        finish(session)
        again = read(path)
        np.testing.assert_array_equal(again.read(slice(None)), result.data)
        assert again.grid.voxel_nm == pytest.approx((10, 10, 10))
        made = read_synthetic(path).read(slice(None))
        assert sorted(set(np.nonzero(made)[0])) == [6, 14, 30]
        assert read_provenance(path)["method"] == repairs.settings.method
    viewer.layers.clear()
    viewer.open(str(tmp_path / "mended.ome.tif"), plugin="napari")
    film.take("reopened")


def grab(menu: QMenu, film: Film) -> None:
    """Keep the menu's own picture: a popup is a window of its own."""
    screen = QApplication.primaryScreen()
    screen.grabWindow(0, *film.viewer.window.geometry()).save(str(film.folder / f"{film.count:02d}-right-click.png"))
    assert menu.isVisible()


def test_the_sample_has_what_the_session_needs() -> None:
    assert {6, 14, BLANK} <= {p.section for p in samples.planted()}
