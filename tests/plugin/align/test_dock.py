"""The Fine alignment dock: runs, cancels, previews, refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_emsynth.plugin.align.dock import FineAlignment
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.upsample.dock import UpsampleZ
from napari_emsynth.plugin.viewer.preferences import BLINK_KEY
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.volume_task.preview import drawn, preview
from napari_emsynth.plugin.volume_task.run import run
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

SMOOTH = AlignSettings(method="smooth", device="cpu")


@pytest.fixture
def viewer(request: Any) -> Any:
    """A viewer as widgets get it from the menu; where a test asks for it, as commands get it."""
    proxied = getattr(request, "param", "raw") == "proxied"
    return request.getfixturevalue("make_napari_viewer_proxy" if proxied else "make_napari_viewer")()


@pytest.fixture
def opened(viewer: Any, session: Session, finish: Callable[..., None], stack: Any, more_methods: None) -> Any:
    """The dock on a viewer with one layer."""
    viewer.add_image(stack, name="stack", scale=(4, 2, 2), units=["nm"] * 3, contrast_limits=(0, 200))
    dock = FineAlignment(viewer)
    viewer.window.add_dock_widget(dock, name="Fine alignment")
    finish(session)
    dock.task.set_settings(SMOOTH)
    yield dock
    dock.leave()


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_run_and_undo(viewer: Any, session: Session, opened: Any, finish: Any, stack: Any) -> None:
    assert "edraws" in opened.form.promise_line.text()
    opened.job_bar.button.click()
    finish(session)
    assert names(viewer) == ["stack", "stack aligned", "stack aligned synthetic"]
    result, mask = viewer.layers[1:]
    source = viewer.layers["stack"]
    assert (tuple(result.scale), tuple(result.translate)) == (tuple(source.scale), tuple(source.translate))
    assert mask.data.all()
    assert not mask.visible
    assert result.metadata["emsynth"]["task"] == "align"
    assert "redraws every voxel" in opened.notices.text.text()
    assert "Correlation of neighbours" in opened.selfcheck.text()
    np.testing.assert_array_equal(source.data, stack)
    opened.task.run(result)
    finish(session)
    again = viewer.layers["stack aligned aligned"].metadata["emsynth"]
    assert again["previous"]["task"] == "align"
    opened.history.undo.click()
    opened.history.undo.click()
    assert names(viewer) == ["stack"]


def test_cancel_adds_nothing(viewer: Any, session: Session, opened: Any, finish: Any, qtbot: Any) -> None:
    opened.task.set_settings(replace(SMOOTH, method="endless", selfcheck=False))
    opened.job_bar.button.click()
    qtbot.waitUntil(lambda: any(job.state == "running" for job in session.queue.jobs), timeout=20_000)
    opened.job_bar.button.click()
    finish(session)
    assert names(viewer) == ["stack"]
    assert opened.job_bar.button.text() == "Run"


def test_a_preview_is_what_a_run_gives(stack: Any, more_methods: None) -> None:
    window = Window(sections=slice(3, 9), rows=slice(10, 50), columns=slice(20, 60), section=6)
    volume, settings = Volume.of(stack), replace(SMOOTH, selfcheck=False)
    draw = drawn(volume, settings, window, Runtime(), {})
    planes = preview(volume, settings, window, (1.0, 1.0, 1.0), draw, Runtime())
    whole = run(Volume.of(stack), settings, Runtime()).result.volume.data
    parts = {"xy": whole[6, 10:50, 20:60], "xz": whole[3:9, 30, 20:60], "yz": whole[3:9, 10:50, 40]}
    for plane in planes:
        np.testing.assert_array_equal(plane.after.pixels, parts[plane.name], err_msg=plane.name)
        assert (plane.after.top, plane.after.height) == (plane.before.top, plane.before.height)


def test_too_few_sections_are_one_line(
    viewer: Any, session: Session, opened: Any, finish: Any, told: list[str]
) -> None:
    layer = viewer.add_image(np.zeros((1, 16, 16), np.uint8), name="one")
    opened.layer_box.choose(layer.unique_id)
    opened.run()
    assert told[-1] == "layer 'one' has 1 section(s) along z; the limit is 2 sections"
    assert not session.queue.is_busy


def test_a_channel_of_four_axes(viewer: Any, session: Session, opened: Any, finish: Any, stack: Any) -> None:
    layer = viewer.add_image(np.stack([stack, 255 - stack]), name="four", scale=(1, 4, 2, 2), contrast_limits=(0, 255))
    opened.layer_box.choose(layer.unique_id)
    opened.channel.setValue(1)
    opened.look.click()
    finish(session)
    before, _ = opened.reslices.panes["xy"]
    assert before.picture.pixels.shape == (64, 72)
    opened.run()
    finish(session)
    assert viewer.layers["four aligned"].data.shape == stack.shape


def test_docks_share_the_blink_key(raw_viewer: Any, finish: Any, stack: Any, more_methods: None) -> None:
    bound = lambda: {str(key) for key in raw_viewer.keymap}  # noqa: E731
    docks = [FineAlignment(raw_viewer), UpsampleZ(raw_viewer)]
    session = docks[0].session
    finish(session)
    for dock in docks:
        dock.blink.bind()
    docks[0].blink.release()
    assert BLINK_KEY in bound(), "the other dock still has it"
    docks[1].blink.release()
    assert BLINK_KEY not in bound()
    for dock in docks:
        dock.leave()
        dock.deleteLater()
    session.close()


def test_copy_as_code(viewer: Any, session: Session, opened: Any) -> None:
    opened.copy.click()
    text = QApplication.clipboard().text()
    assert "result = es.align(volume, method='smooth', device='cpu')" in text
    assert "# emsynth align stack.tif aligned.ome.tif --method smooth --device cpu --voxel-size 4,2,2" in text
