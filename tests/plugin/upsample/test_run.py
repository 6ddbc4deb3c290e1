"""Upsampling into files, auto previews, what is remembered of layers, what goes along, and the view in 3-D."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from qtpy.QtWidgets import QInputDialog

from napari_emsynth import io
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.plugin.layers.view_3d import part_in_view
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.upsample.dock import UpsampleZ
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.run import bytes_needed, run
from napari_emsynth.plugin.volume_task.target import Target, check_target
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume

LINEAR = UpsampleSettings(method="linear", device="cpu", selfcheck=False, with_mask=False, damaged="")
SPACE: dict[str, Any] = {"scale": (4, 2, 2), "translate": (8, 3, 5), "units": ["nm"] * 3}


@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_a_result_in_a_file_is_the_one_in_memory(stack: Any, tmp_path: Path, sampling: str) -> None:
    settings = replace(LINEAR, factor=2.5, sampling=sampling)
    volume = Volume.of(stack, voxel_nm=(4, 2, 2))
    target = Target(path=tmp_path / "there.ome.zarr")
    there, here = (run(volume, settings, Runtime(), target=t) for t in (target, None))
    assert there.path == target.path
    assert there.result.volume.is_lazy
    for name in ("volume", "synthetic"):
        np.testing.assert_array_equal(getattr(there.result, name).read(slice(None)), getattr(here.result, name).data)
    assert there.result.volume.grid == here.result.volume.grid
    assert io.read(target.path).grid.shape == settings.shape(stack.shape)


def test_an_interrupted_run_goes_on(stack: Any, tmp_path: Path) -> None:
    volume, target = Volume.of(np.tile(stack, (6, 1, 1))), Target(path=tmp_path / "there.zarr")
    token, told = CancelToken(), []

    def stop(done: int, total: int, what: str) -> None:
        if what == "blocks written":
            told.append(done)
            token.cancel()

    assert not target.is_begun
    with pytest.raises(Cancelled):
        run(volume, LINEAR, Runtime(progress=stop, cancel=token), target=target)
    assert told == [1]
    assert not target.path.exists(), "nothing half-written is there"
    assert target.is_begun
    with pytest.raises(InputError, match="belongs to another job"):
        run(volume, replace(LINEAR, factor=3), Runtime(), target=replace(target, resume=True))
    edited = replace(volume, data=255 - volume.read(slice(None)))
    with pytest.raises(InputError, match="belongs to another job"):
        run(edited, LINEAR, Runtime(), target=replace(target, resume=True))
    outcome = run(volume, LINEAR, Runtime(), target=replace(target, resume=True))
    whole = run(volume, LINEAR, Runtime()).result.volume.data
    np.testing.assert_array_equal(outcome.result.volume.read(slice(None)), whole)
    assert not target.is_begun


def test_files_that_cannot_be_written_are_refused_first(tmp_path: Path) -> None:
    from napari.layers import Image

    source = Image(np.zeros((2, 3, 4), np.uint8), name="shown", metadata={"path": str(tmp_path / "a.zarr")})
    other = Image(np.zeros((2, 3, 4), np.uint8))
    for path, line in (
        (tmp_path / "a.zarr", "same file"),
        (tmp_path / "b.tif", "not a .zarr"),
        (tmp_path / "no" / "b.zarr", "does not exist"),
    ):
        with pytest.raises(InputError, match=line):
            check_target(Target(path=path), [source, other], source)
    with pytest.raises(InputError, match="what layer 'shown' shows"):
        check_target(Target(path=tmp_path / "a.zarr"), [source, other], other)
    beside = Target(path=tmp_path / "b.ome.zarr").beside("linear")
    assert beside.path == tmp_path / "b_linear.ome.zarr"
    check_target(beside, [source, other], source)


def test_room_counts_mask_and_uncertainty(stack: Any) -> None:
    voxels = 23 * 64 * 72
    assert bytes_needed(Volume.of(stack), LINEAR) == 2 * voxels
    assert bytes_needed(Volume.of(stack.astype(np.uint16)), LINEAR) == 3 * voxels


@pytest.fixture
def dock(raw_viewer: Any, finish: Callable[..., None], stack: Any) -> Iterator[Any]:
    session = install(raw_viewer).session
    raw_viewer.add_image(stack, name="stack", contrast_limits=(0, 200), **SPACE)
    dock = UpsampleZ(raw_viewer)
    raw_viewer.window.add_dock_widget(dock, name="Upsample z")
    finish(session)
    dock.task.set_settings(LINEAR)
    yield dock
    dock.leave()
    session.close()


def names(dock: Any) -> list[str]:
    return [layer.name for layer in dock.session.viewer.layers]


def test_what_is_said_of_a_layer_is_remembered(
    dock: Any, finish: Any, stack: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, form = dock.session.viewer, dock.form
    spoilt = stack.copy()
    spoilt[[3, 7]] = 0
    other = viewer.add_image(spoilt, name="other")
    form.sampling.cards["slab"].click()
    dock.layer_box.choose(other.unique_id)
    assert form.sampling.value() == "point"
    assert "Not answered" in form.sampling.question.text()
    assert form.damaged.text() == "detected"
    form.detect.click()
    finish(dock.session)
    assert form.damaged.text() == "3,7"
    assert dock.task.settings.damaged == "3,7"
    assert form.suspects.sections() == [3, 7]
    dock.layer_box.choose(viewer.layers["stack"].unique_id)
    assert (form.sampling.value(), dock.task.settings.sampling) == ("slab", "slab")
    assert "Not answered" not in form.sampling.question.text()
    assert form.suspects.isHidden()
    dock.layer_box.choose(other.unique_id)
    assert form.suspects.sections() == [3, 7]
    # Voxels of no known size cannot be made cubes before the user states it.
    asked: list[str] = []
    monkeypatch.setattr(QInputDialog, "getText", lambda *_args, text: asked.append(text) or ("", False))
    form.factor.isotropic.click()
    for act in (dock.run, dock.preview, dock.copy_code):
        act()
    assert asked == ["", ""], "once when cubes are asked for, once more before a run"
    refused = [line for line in told if "isotropic" in line]
    assert len(refused) == 3, "one line each"
    assert all("voxel size" in line and "\n" not in line for line in refused)
    dock.set_voxel_size("30, 10, 10")
    assert dock.task.settings.factor == 3
    assert list(other.scale) == [30, 10, 10]
    assert "34 x 64 x 72 voxels of 10 x 10 x 10 nm" in form.forecast.text()
    dock.history.undo.click()
    assert list(other.scale) == [1, 1, 1]
    assert not form.factor.ask.isHidden()
    form.factor.isotropic.click()
    form.factor.number.setValue(13)
    dock.run()
    assert told[-1] == "factor 13 is outside 2 to 12 output sections a section"
    assert form.forecast.text() == ""


def test_the_preview_follows_the_view(dock: Any, finish: Any, qtbot: Any, told: list[str], stack: Any) -> None:
    viewer, session = dock.session.viewer, dock.session
    dock.auto_box.setChecked(True)
    qtbot.waitUntil(lambda: dock.task.last_preview is not None, timeout=20_000)
    finish(session)
    assert "about" in dock.form.forecast.text(), "a preview tells how long a run takes"
    made: list[int] = []
    dock.task.previewed.connect(lambda preview: made.append(preview.window.section))
    for z in (2, 3, 4, 5):
        viewer.dims.set_point(0, 8 + 4 * z)
    qtbot.waitUntil(lambda: made == [5], timeout=20_000)
    jobs = [dock.task.preview(dock.layer(), 5, unasked=True) for _ in range(3)]
    assert [job.cancel.cancelled for job in jobs] == [True, True, False], "the newest one counts"
    assert all(job.quiet for job in jobs)
    finish(session)
    assert made == [5, 5]
    # A click in a plane lays the others there, and goes to that section.
    dock.reslices.picked.emit("xz", 4.0 * 7, 2.0 * 11 + 1)
    qtbot.waitUntil(lambda: made[-1] == 7, timeout=20_000)
    assert dock.task.last_preview.window.column == 11
    before = dock.reslices.panes["xy"][0]
    assert before.cross == pytest.approx((2.0 * (dock.task.last_preview.window.row + 0.5), 23.0))
    dock.form.factor.number.setValue(4)
    qtbot.waitUntil(lambda: dock.task.last_preview.settings.factor == 4, timeout=20_000)
    dock.layer().data = dock.layer().data[:1]
    dock.preview_view()
    assert not told, "what nobody asked for is no reason to interrupt"
    assert "1 section" in dock.notices.text.text()
    dock.layer().data = stack
    dock.preview_view()
    finish(session)
    assert dock.notices.isHidden(), "what stopped it has gone"
    dock.auto_box.setChecked(False)
    viewer.dims.set_point(0, 8)
    assert not session.queue.is_busy


def test_labels_go_along_and_3d_comes_and_goes(
    dock: Any, finish: Any, stack: Any, told: list[str], tmp_path: Path
) -> None:
    viewer, session = dock.session.viewer, dock.session
    labels = viewer.add_labels((stack > 120).astype(np.int32) * 7, name="cells", **SPACE)
    small = viewer.add_labels(np.ones((3, 4, 4), np.int32), name="small")
    panel = dock.labels
    panel.list.tick([labels.unique_id])
    panel.apply.click()
    assert told[-1] == "nothing upsampled is in the viewer; run first, then labels can follow"
    dock.run()
    finish(session)
    panel.list.tick([small.unique_id])
    panel.apply.click()
    assert "to follow it they need" in told[-1]
    panel.list.tick([labels.unique_id])
    panel.apply.click()
    finish(session)
    moved, result = viewer.layers["cells upsampled x2"], viewer.layers["stack upsampled x2"]
    np.testing.assert_array_equal(moved.data[::2], labels.data)
    assert set(np.unique(moved.data)) == {0, 7}
    np.testing.assert_allclose(moved.scale, result.scale)
    np.testing.assert_allclose(moved.translate, result.translate)
    assert moved.units == labels.units
    assert moved.metadata["emsynth"]["factor"] == 2
    assert panel.list.count() == 2, "what went along is not offered again"
    panel.format.setCurrentText(".ome.zarr")
    panel.export_to(tmp_path)
    finish(session)
    np.testing.assert_array_equal(io.read(tmp_path / "cells_upsampled_x2.ome.zarr").read(slice(None)), moved.data)
    assert "--apply-to cells.tif=cells_upsampled.ome.tif" in dock.copy_code()
    seen = {layer.name: layer.visible for layer in viewer.layers}
    dock.view_3d.click()
    finish(session)
    shown = viewer.layers["stack upsampled x2 in 3-D"]
    assert viewer.dims.ndisplay == 3
    np.testing.assert_allclose(shown.scale, (2, 2, 2))
    np.testing.assert_allclose(shown.translate, (8, 3, 5))
    assert not result.visible
    assert dock.view_3d.isChecked()
    assert dock.layer_box.findText(shown.name) < 0, "it is nobody's source"
    viewer.dims.ndisplay = 2
    assert {layer.name: layer.visible for layer in viewer.layers} == seen
    assert not dock.view_3d.isChecked()
    dock.history.undo.click()
    assert "cells upsampled x2" not in names(dock)


def test_of_a_large_layer_3d_shows_the_part_in_view(raw_viewer: Any) -> None:
    lazy = da.zeros((50, 3000, 2500), chunks=(1, 512, 512), dtype=np.uint8)
    layer = raw_viewer.add_image(lazy, scale=(40, 10, 10), contrast_limits=(0, 1))
    z, y, x = part_in_view(raw_viewer, layer)
    assert (y.stop - y.start, x.stop - x.start) == (320, 320)
    assert 40 * (z.stop - z.start) == 40 * 50, "as high as wide, as far as there is tissue"
    install(raw_viewer).session.close()
