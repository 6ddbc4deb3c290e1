"""The dock: marks, runs, notices, comparison, history; with raw viewers and with proxies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtWidgets import QApplication, QDockWidget

import napari_emsynth as es
from napari_emsynth.plugin.restore.canvas_menu import DOCK_NAME, open_dock
from napari_emsynth.plugin.restore.marks_table import score_text, score_tip
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.preferences import BLINK_KEY
from napari_emsynth.plugin.viewer.session import Session


@pytest.fixture(autouse=True)
def fast(session: Session, repairs: RestoreTask) -> None:
    repairs.set_settings(replace(repairs.settings, method="linear", device="cpu"))


@pytest.fixture
def opened(viewer: Any, session: Session, repairs: RestoreTask, finish: Callable[..., None], stack: Any) -> Any:
    """The dock on a viewer with one layer."""
    viewer.add_image(stack, name="stack", scale=(4, 2, 2), units=["nm"] * 3, contrast_limits=(0, 200))
    dock = open_dock(repairs)
    finish(session)
    yield dock
    dock.leave()


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_mark_run_undo_redo(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, stack: Any
) -> None:
    source = viewer.layers["stack"]
    labels = viewer.add_labels(np.zeros(stack.shape, np.uint8), name="my work", scale=(4, 2, 2), units=["nm"] * 3)
    viewer.dims.set_point(0, 20)
    opened.add_damaged.click()
    viewer.dims.set_point(0, 32)
    opened.add_missing.click()
    assert [(m.section, m.treatment) for m in repairs.marks_of(source)] == [(5, "replace"), (8, "insert")]
    assert opened.table.rowCount() == 2
    before = np.array(source.data)
    opened.job_bar.button.click()
    assert opened.job_bar.button.text() == "Cancel"
    finish(session)
    assert opened.job_bar.button.text() == "Run"
    assert names(viewer) == ["stack", "stack restored", "stack restored synthetic", "my work"]
    result = viewer.layers["stack restored"]
    np.testing.assert_array_equal(source.data, before)
    np.testing.assert_array_equal(np.delete(result.data, [5, 8], 0), np.delete(before, 5, 0))
    assert tuple(result.scale) == (4, 2, 2)
    assert result.units == source.units
    assert list(result.contrast_limits) == [0, 200]
    record = result.metadata["emsynth"]
    assert [[e["section"] for e in step["sections"]] for step in (record["previous"], record)] == [[5], [8]]
    assert list(np.nonzero(viewer.layers["stack restored synthetic"].data.any(axis=(1, 2)))[0]) == [5, 8]
    assert labels.visible
    assert source.visible
    assert "dB" in opened.table.item(0, 2).text()
    opened.history.undo.click()
    assert names(viewer) == ["stack", "my work"]
    opened.history.redo.click()
    assert "stack restored" in names(viewer)
    opened.run()
    finish(session)
    assert "stack restored [1]" in names(viewer), "no layer is overwritten"


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_in_place_keeps_the_old_data_for_undo(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any
) -> None:
    source = viewer.layers["stack"]
    before = source.data
    copy = np.array(before)
    repairs.set_settings(replace(repairs.settings, place="in place"))
    assert opened.form.in_place.isChecked()
    repairs.interpolate_at(source, 4)
    finish(session)
    assert names(viewer) == ["stack"]
    assert not np.array_equal(source.data[4], copy[4])
    assert list(source.contrast_limits) == [0, 200]
    assert source.metadata["emsynth"]["method"] == "linear"
    assert session.compare(True)
    np.testing.assert_array_equal(source.data, copy)
    session.compare(False)
    assert not np.array_equal(source.data[4], copy[4])
    session.undo()
    assert source.data is before
    np.testing.assert_array_equal(source.data, copy)
    assert "emsynth" not in source.metadata


def test_a_quick_answer_is_shown_first_and_gives_way_to_the_one_asked_for(
    viewer: Any,
    session: Session,
    repairs: RestoreTask,
    opened: Any,
    finish: Any,
    stack: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repairs.set_settings(replace(repairs.settings, method="emsynth"))
    looks, show = [], repairs.preview.show

    def seen(viewer: Any, source: Any, section: int, pixels: Any, below: Any) -> None:
        looks.append((section, np.array(pixels)))
        show(viewer, source, section, pixels, below)
        assert "stack preview (z=4)" in names(viewer)

    monkeypatch.setattr(repairs.preview, "show", seen)
    repairs.interpolate_at(viewer.layers["stack"], 4)
    finish(session)
    quick, refined = (
        es.interpolate(stack, [4], method=method, selfcheck=False).volume.data[4] for method in ("fitted", "emsynth")
    )
    assert [section for section, _ in looks] == [4, 4]
    np.testing.assert_array_equal(looks[0][1], quick)
    np.testing.assert_array_equal(looks[1][1], refined)
    assert names(viewer) == ["stack", "stack restored", "stack restored synthetic"]
    assert viewer.layers["stack restored"].metadata["emsynth"]["sections"][0]["selfcheck"] is not None


def test_a_repair_that_is_cancelled_leaves_no_quick_answer(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairs.set_settings(replace(repairs.settings, method="emsynth"))
    show = repairs.preview.show

    def cancelled_once_seen(*told: Any) -> None:
        show(*told)
        session.queue.cancel_all()

    monkeypatch.setattr(repairs.preview, "show", cancelled_once_seen)
    repairs.interpolate_at(viewer.layers["stack"], 4)
    finish(session)
    assert names(viewer) == ["stack"]


def test_lazy_and_uncertainty(viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any) -> None:
    repairs.set_settings(replace(repairs.settings, lazy=True, with_uncertainty=True))
    repairs.interpolate_at(viewer.layers["stack"], 4)
    finish(session)
    assert names(viewer) == ["stack", "stack restored", "stack restored synthetic", "stack restored uncertainty"]
    assert hasattr(viewer.layers["stack restored"].data, "dask")
    assert not viewer.layers["stack restored uncertainty"].visible


def test_dask_layers_keep_their_store(
    viewer: Any, session: Session, repairs: RestoreTask, finish: Any, stack: Any
) -> None:
    layer = viewer.add_image(da.from_array(stack, chunks=(1, 64, 72)), name="dask", contrast_limits=(0, 255))
    repairs.interpolate_at(layer, 4)
    finish(session)
    result = viewer.layers["dask restored"].data
    assert hasattr(result, "dask")
    np.testing.assert_array_equal(np.delete(np.asarray(result), 4, 0), np.delete(stack, 4, 0))


def test_a_channel_of_four_axes(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, stack: Any
) -> None:
    layer = viewer.add_image(np.stack([stack, 255 - stack]), name="four", scale=(1, 4, 2, 2), contrast_limits=(0, 255))
    opened.layer_box.choose(layer.unique_id)
    opened.channel.setValue(1)
    opened.add_current()
    opened.run()
    finish(session)
    result = viewer.layers["four restored"]
    assert result.data.shape == stack.shape
    section = repairs.marks_of(layer)[0].section
    np.testing.assert_array_equal(np.delete(result.data, section, 0), np.delete(255 - stack, section, 0))


def test_masks_mark_regions_or_sections(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, stack: Any
) -> None:
    source = viewer.layers["stack"]
    painted = np.zeros(stack.shape, np.uint8)
    painted[3, 10:20, 10:20] = 1
    painted[7, 5:9, 5:9] = 2
    labels = viewer.add_labels(painted, name="damage", scale=(4, 2, 2), units=["nm"] * 3)
    opened.mark_from(labels, whole=False)
    finish(session)
    assert [(m.section, m.treatment) for m in repairs.marks_of(source)] == [(3, "region"), (7, "region")]
    opened.run()
    finish(session)
    changed = viewer.layers["stack restored"].data != stack
    assert changed.any()
    assert not changed[painted == 0].any()
    repairs.set_marks(source, (), "clear")
    opened.mark_from(labels, whole=True)
    finish(session)
    assert [(m.section, m.treatment) for m in repairs.marks_of(source)] == [(3, "replace"), (7, "replace")]


def test_detection_fills_the_table(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, stack: Any
) -> None:
    damaged = stack.copy()
    damaged[6] = 0
    layer = viewer.add_image(damaged, name="damaged", contrast_limits=(0, 255))
    opened.layer_box.choose(layer.unique_id)
    opened.detect()
    finish(session)
    found = {m.section: m.origin for m in repairs.marks_of(layer)}
    assert found[6] == "detected: blank"


def test_live_preview_follows_the_slider(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, qtbot: Any
) -> None:
    viewer.dims.set_point(0, 12)
    opened.auto_box.setChecked(True)
    qtbot.waitUntil(lambda: repairs.preview.section == 3 and repairs.preview.layer_id is not None, timeout=30_000)
    viewer.dims.set_point(0, 24)
    qtbot.waitUntil(lambda: repairs.preview.section == 6 and repairs.preview.layer_id is not None, timeout=30_000)
    assert len(viewer.layers) == 2
    assert opened.layer_box.count() == 1, "the preview is nobody's source"
    opened.auto_box.setChecked(False)
    finish(session)
    assert names(viewer) == ["stack"]


def test_blink_key_only_while_the_dock_is_visible(make_napari_viewer: Any, finish: Any, stack: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    source = viewer.add_image(stack, name="stack")
    session = Session.of(viewer)
    repairs = RestoreTask.of(session)
    repairs.set_settings(replace(repairs.settings, method="linear"))
    bound = lambda: {str(key) for key in viewer.keymap}  # noqa: E731
    assert BLINK_KEY not in bound()
    dock = open_dock(repairs)
    finish(session)
    qtbot.waitUntil(lambda: BLINK_KEY in bound())
    repairs.interpolate_at(source, 4)
    finish(session)
    result = viewer.layers["stack restored"]
    held = next(iter(func for key, func in viewer.keymap.items() if str(key) == BLINK_KEY))(viewer)
    next(held)
    assert not result.visible
    with pytest.raises(StopIteration):
        next(held)
    assert result.visible
    dock.parent().close()
    assert BLINK_KEY not in bound()
    session.close()


def test_notices_offer_linear(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, finish: Any, told: list[str]
) -> None:
    repairs.set_settings(replace(repairs.settings, method="optical-flow"))
    job = repairs.interpolate_at(viewer.layers["stack"], 5)
    outcomes = []
    show = job.on_done

    def poorer(made: Any) -> None:
        """As if the model did not beat the floors."""
        outcome = made[0]
        entry = outcome.entries[(5, False)]
        entry["selfcheck"] = {**entry["selfcheck"], "beats_floors": False, "instead": "linear"}
        outcome.notices.append("the model does not beat linear: use --method linear here")
        outcomes.append(outcome)
        show(made)

    job.on_done = poorer
    finish(session)
    assert "the model does not beat linear: use --method linear here" in told
    assert opened.notices.button.text() == "Use linear instead"
    assert not opened.notices.isHidden()
    assert not opened.notices.button.isHidden()
    opened.notices.button.click()
    finish(session)
    assert viewer.layers["stack restored"].metadata["emsynth"]["method"] == "linear"
    assert "stack restored [1]" not in names(viewer), "linear instead, not beside"


def test_self_check_in_words(session: Session, repairs: RestoreTask, viewer: Any, opened: Any, finish: Any) -> None:
    repairs.mark(viewer.layers["stack"], 5)
    opened.run()
    finish(session)
    (mark,) = repairs.marks_of(viewer.layers["stack"])
    assert score_text(mark).endswith(")")
    assert "blurred linear" in score_tip(mark)


def test_copy_as_code(session: Session, repairs: RestoreTask, viewer: Any, opened: Any, told: list[str]) -> None:
    repairs.mark(viewer.layers["stack"], 5)
    opened.copy.click()
    text = QApplication.clipboard().text()
    assert "es.interpolate(volume, sections=[5], method='linear'" in text
    assert "emsynth interpolate stack.tif" in text


def test_the_dock_fits_a_laptop(opened: Any) -> None:
    assert opened.sizeHint().width() <= 320
    assert opened.minimumSizeHint().height() <= 400
    assert opened.scroll.widget().minimumSizeHint().width() <= 320
    assert not opened.form.more.isExpanded()


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_the_dock_opens_once(session: Session, repairs: RestoreTask, opened: Any) -> None:
    assert open_dock(repairs) is opened
    assert isinstance(opened.parent(), QDockWidget)
    assert opened.parent().windowTitle() == DOCK_NAME


def test_bad_layers_are_one_line(viewer: Any, session: Session, repairs: RestoreTask, told: list[str]) -> None:
    bad = [
        viewer.add_image(np.zeros((8, 8), np.uint8)),
        viewer.add_image(np.zeros((4, 8, 8, 3), np.uint8), rgb=True),
        viewer.add_image(np.zeros((1, 2, 3, 8, 8), np.uint8)),
        viewer.add_labels(np.zeros((4, 8, 8), np.uint8)),
        None,
    ]
    for layer in bad:
        told.clear()
        for act in (repairs.run_marked, repairs.detect):
            assert act(layer) is None
        assert repairs.preview_at(layer, 0) is None
        repairs.mark(layer, 0)
        assert len(told) == 4, layer
        assert all("\n" not in line and "needs" in line for line in told)
    assert len(viewer.layers) == len(bad) - 1


def test_bad_sections_and_masks_are_one_line(
    viewer: Any, session: Session, repairs: RestoreTask, opened: Any, told: list[str], finish: Any
) -> None:
    source = viewer.layers["stack"]
    opened.run()
    assert told[-1].startswith("no section is marked")
    repairs.mark(source, 99)
    assert told[-1] == "section 99 is outside the stack, which has sections 0 to 11"
    for section in range(12):
        repairs.mark(source, section)
    opened.run()
    assert told[-1].startswith("all 12 sections are marked")
    other = viewer.add_labels(np.ones((3, 64, 72), np.uint8), name="other")
    opened.mark_from(other, whole=False)
    assert "needs the image's shape (12, 64, 72)" in told[-1]
    assert not session.queue.is_busy


@pytest.mark.parametrize("fill", [7, np.nan])
def test_constant_and_empty_stacks(
    viewer: Any, session: Session, repairs: RestoreTask, finish: Any, told: list[str], fill: float
) -> None:
    data = np.full((6, 32, 32), fill, np.float32)
    layer = viewer.add_image(data, name="dull", contrast_limits=(0, 10))
    repairs.interpolate_at(layer, 2)
    finish(session)
    restored = [n for n in names(viewer) if n == "dull restored"]
    assert restored or told, "a result, or a line that says why not"
    viewer.add_image(data, name="napari is alive", contrast_limits=(0, 10))
