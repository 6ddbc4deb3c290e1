"""The Upsample z dock: what it offers, previews, adds, refuses; and that its code does the same elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtWidgets import QApplication

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.dock import FineAlignment
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.field_of_view import EDGE, Window, around, window_in_view
from napari_emsynth.plugin.upsample.dock import UpsampleZ
from napari_emsynth.plugin.upsample.form import UpsampleForm
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.volume_task.code import volume_code
from napari_emsynth.plugin.volume_task.layers import placed
from napari_emsynth.plugin.volume_task.preview import drawn, preview
from napari_emsynth.plugin.volume_task.run import run
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

LINEAR = UpsampleSettings(method="linear", device="cpu")


@pytest.fixture
def viewer(request: Any) -> Any:
    """A viewer as widgets get it from the menu; where a test asks for it, as commands get it."""
    proxied = getattr(request, "param", "raw") == "proxied"
    return request.getfixturevalue("make_napari_viewer_proxy" if proxied else "make_napari_viewer")()


@pytest.fixture
def opened(viewer: Any, session: Session, finish: Callable[..., None], stack: Any, more_methods: None) -> Any:
    """The dock on a viewer with one layer."""
    space = {"scale": (4, 2, 2), "translate": (8, 3, 5), "units": ["nm"] * 3, "axis_labels": ["z", "y", "x"]}
    viewer.add_image(stack, name="stack", contrast_limits=(0, 200), gamma=0.8, colormap="green", **space)
    dock = UpsampleZ(viewer)
    viewer.window.add_dock_widget(dock, name="Upsample z")
    finish(session)
    dock.task.set_settings(LINEAR)
    yield dock
    dock.leave()


def names(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_run_undo_redo(viewer: Any, session: Session, opened: Any, finish: Any, stack: Any) -> None:
    source = viewer.layers["stack"]
    opened.look.click()
    finish(session)
    assert opened.reslices.panes["xz"][1].picture is not None
    opened.job_bar.button.click()
    assert opened.job_bar.button.text() == "Cancel"
    finish(session)
    assert opened.job_bar.button.text() == "Run"
    assert names(viewer) == ["stack", "stack upsampled x2", "stack upsampled x2 synthetic"]
    result, mask = viewer.layers[1:]
    assert result.data.shape == (23, 64, 72)
    np.testing.assert_array_equal(result.data[::2], stack)
    np.testing.assert_array_equal(mask.data.any(axis=(1, 2)), np.arange(23) % 2)
    for layer in (result, mask):
        np.testing.assert_allclose(layer.scale, (2, 2, 2))
        np.testing.assert_allclose(layer.translate, (8, 3, 5))
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
    assert (list(result.contrast_limits), result.gamma, result.colormap.name) == ([0, 200], 0.8, "green")
    assert mask.visible
    record = result.metadata["emsynth"]
    assert (record["task"], record["factor"], record["sampling"]) == ("upsample", 2, "point")
    assert "hidden sections" in opened.selfcheck.text()
    assert source.visible
    np.testing.assert_array_equal(source.data, stack)
    opened.history.undo.click()
    assert names(viewer) == ["stack"]
    opened.history.redo.click()
    assert "stack upsampled x2" in names(viewer)
    opened.run()
    finish(session)
    assert "stack upsampled x2 [1]" in names(viewer), "no layer is overwritten"
    assert session.compare(True)
    assert not result.visible
    session.compare(False)
    assert result.visible


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("ndim", [3, 4])
def test_results_lie_upon_their_source(sampling: str, ndim: int) -> None:
    """Point sampling keeps the centres of the first and last section, slab sampling keeps the outer faces."""
    lead = ndim - 3
    affine = np.eye(ndim + 1)
    affine[lead, -1], affine[lead + 1, lead] = 11.0, 0.3
    layer = Image(
        np.zeros((2,) * lead + (5, 8, 9)), scale=(1,) * lead + (4, 2, 3), translate=(0,) * lead + (7, 1, 2),
        rotate=30 if ndim == 3 else None, affine=affine, contrast_limits=(0, 1),
    )  # fmt: skip
    settings = replace(LINEAR, factor=3, sampling=sampling)
    shape = settings.shape((5, 8, 9))
    result = Image(np.zeros(shape), **placed(layer, settings).space)
    edge = 0.0 if sampling == "point" else 0.5
    for ours, theirs in ((-edge, -edge), (shape[0] - 1 + edge, 4 + edge)):
        there = layer.data_to_world((0,) * lead + (theirs, 3.0, 4.0))[lead:]
        np.testing.assert_allclose(result.data_to_world((ours, 3.0, 4.0)), there, atol=1e-9)
    volume = Volume.of(np.zeros((5, 8, 9), np.float32), voxel_nm=(4, 2, 3))
    grid = run(volume, replace(settings, selfcheck=False), Runtime()).result.volume.grid
    assert grid.shape == shape
    assert grid.origin_nm[0] == pytest.approx(4 * settings.offset[0]), "as the task says"


def test_the_form_offers_what_the_method_can(opened: Any) -> None:
    form = opened.form
    assert opened.sizeHint().width() <= 320, "the dock fits a laptop"
    assert opened.scroll.widget().minimumSizeHint().width() <= 320
    assert not form.more.isExpanded()
    assert form.promise() == ""
    other = replace(LINEAR, factor=7.5, sampling="slab", lazy=True, with_mask=False, selfcheck=False, tile=64)
    form.set_value(other)
    assert form.value() == other
    assert "divided" in form.sampling.explanation.text()
    form.method.setCurrentIndex(form.method.findData("twice"))
    form.method.activated.emit(form.method.currentIndex())
    assert not form.sampling.cards["slab"].isEnabled()
    assert not form.factor.number.isEnabled()
    assert "edraws" in form.promise_line.text()
    assert (opened.task.settings.method, opened.task.settings.factor) == ("twice", 2)
    assert opened.task.settings.sampling == "point"


def test_a_form_without_an_engine_keeps_every_value(qtbot: Any) -> None:
    form = UpsampleForm(UpsampleSettings())
    qtbot.addWidget(form)
    assert form.value() == UpsampleSettings()
    other = UpsampleSettings(method="mine", weights="w", factor=12, sampling="slab", device="cpu", seed=4)
    form.set_value(other)
    assert form.value() == other
    assert form.minimumSizeHint().width() <= 320


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("look", ["accurate", "natural"])
def test_a_preview_is_what_a_run_gives(stack: Any, sampling: str, look: str) -> None:
    settings = replace(LINEAR, factor=3, sampling=sampling, look=look, selfcheck=False)
    window = Window(sections=slice(4, 9), rows=slice(10, 50), columns=slice(20, 60), section=6)
    volume = Volume.of(stack, voxel_nm=(4, 2, 2))
    draw = drawn(volume, settings, window, Runtime(), {})
    planes = {p.name: p for p in preview(volume, settings, window, (4.0, 2.0, 2.0), draw, Runtime())}
    whole = run(volume, settings, Runtime()).result.volume.data
    np.testing.assert_array_equal(planes["xz"].after.pixels, whole[settings.sections(slice(4, 9)), window.row, 20:60])
    np.testing.assert_array_equal(
        planes["yz"].after.pixels, whole[settings.sections(slice(4, 9)), 10:50, window.column]
    )
    np.testing.assert_array_equal(planes["xy"].after.pixels, whole[19, 10:50, 20:60])
    np.testing.assert_array_equal(planes["yz"].before.pixels, stack[4:9, 10:50, window.column])
    before, after = planes["xz"].before, planes["xz"].after
    assert (before.top, before.height, before.left, before.width) == (14.0, 20.0, 40.0, 80.0)
    if sampling == "slab":
        assert (after.top, after.height) == pytest.approx((14.0, 20.0)), "faces stay"
    else:
        assert after.top + 4 / 6 == pytest.approx(16.0), "centres stay"


def test_windows_lie_inside() -> None:
    assert around(5.5, 4, 12) == slice(4, 8)
    assert around(0.5, 5, 12) == slice(0, 5)
    assert around(11.5, 5, 12) == slice(7, 12)
    assert around(1, 64, 3) == slice(0, 3)


def test_the_preview_is_of_the_view(raw_viewer: Any, stack: Any) -> None:
    layer = raw_viewer.add_image(np.tile(stack, (1, 8, 8)), scale=(4, 2, 2), translate=(8, 3, 5))
    raw_viewer.dims.set_point(0, 8 + 4 * 7)
    # napari 0.9 has moved it.
    getattr(raw_viewer, "scene", raw_viewer).camera.zoom *= 8
    QApplication.processEvents()
    raw_viewer.screenshot(flash=False)
    window = window_in_view(raw_viewer, layer, 5)
    assert (window.sections, window.section) == (slice(5, 10), 7)
    assert 0 < window.rows.stop - window.rows.start <= EDGE
    assert abs(window.row - 256) <= 2
    assert abs(window.column - 288) <= 2


def test_preview_in_the_dock(viewer: Any, session: Session, opened: Any, finish: Any) -> None:
    assert opened.reslices.isHidden()
    viewer.dims.set_point(0, 8 + 4 * 6)
    opened.sections.setValue(6)
    opened.look.click()
    finish(session)
    assert names(viewer) == ["stack"], "a preview adds nothing"
    assert not opened.reslices.isHidden()
    before, after = opened.reslices.panes["xz"]
    assert before.picture.pixels.shape == (6, 72)
    assert after.picture.pixels.shape == (11, 72)
    assert after.target().width() == before.target().width(), "true proportions on both sides"
    assert opened.caption.text().startswith("z 4-9, ")
    assert not before.is_faint
    opened.form.factor.number.setValue(4)
    assert after.is_faint
    window = opened.enlarge()
    assert window.reslices.panes["yz"][1].picture is not None
    assert window.minimumSizeHint().height() <= window.screen().availableGeometry().height()
    window.close()
    again = UpsampleZ(viewer)
    assert not again.reslices.isHidden(), "a dock opened again shows what there was"
    again.leave()
    again.deleteLater()


def test_bad_layers_are_one_line(raw_viewer: Any, finish: Any, told: list[str], more_methods: None) -> None:
    dock = UpsampleZ(raw_viewer)
    acts = (dock.run, dock.preview, dock.copy_code)
    for add in (
        lambda: None,
        lambda: raw_viewer.add_image(np.zeros((8, 8), np.uint8)),
        lambda: raw_viewer.add_image(np.zeros((4, 8, 8, 3), np.uint8), rgb=True),
        lambda: raw_viewer.add_labels(np.zeros((4, 8, 8), np.uint8)),
        lambda: raw_viewer.add_image(np.zeros((1, 8, 8), np.uint8), name="one"),
    ):
        raw_viewer.layers.clear()
        add()
        count = len(raw_viewer.layers)
        told.clear()
        for act in acts:
            act()
        finish(dock.session)
        assert len(told) == 3
        assert all("\n" not in line for line in told)
        assert not dock.notices.isHidden()
        assert len(raw_viewer.layers) == count
    assert told[0] == "layer 'one' has 1 section(s) along z; the limit is 2 sections"
    dock.leave()
    dock.session.close()
    dock.deleteLater()


def test_what_did_better_instead(viewer: Any, session: Session, opened: Any, finish: Any, told: list[str]) -> None:
    opened.task.run(viewer.layers["stack"], settings=replace(LINEAR, method="twice", factor=3))
    finish(session)
    assert told == ["upsample/twice upsamples by 2, not by 3; linear does any factor"]
    assert names(viewer) == ["stack"]
    opened.task.set_settings(replace(LINEAR, method="poor"))
    opened.run()
    finish(session)
    (line,) = [line for line in told if "does not beat" in line]
    better = line.split("--method ")[1].split()[0]
    assert better in ("kriging", "linear")
    assert "redraws acquired voxels" in opened.notices.text.text()
    assert not viewer.layers["stack upsampled x2 synthetic"].visible, "a tint over everything tells nothing"
    assert not opened.notices.button.isHidden()
    opened.notices.button.click()
    finish(session)
    assert viewer.layers["stack upsampled x2"].metadata["emsynth"]["method"] == better
    assert "stack upsampled x2 [1]" not in names(viewer), "instead, not beside"


def test_lazy_computes_what_is_shown(viewer: Any, session: Session, opened: Any, finish: Any, stack: Any) -> None:
    opened.task.set_settings(replace(LINEAR, lazy=True))
    opened.run()
    finish(session)
    lazy = viewer.layers["stack upsampled x2"].data
    assert hasattr(lazy, "dask")
    np.testing.assert_array_equal(lazy[::2].compute(), stack)


def test_dask_layers_are_computed_unless_lazy(stack: Any) -> None:
    volume = Volume.of(da.from_array(stack, chunks=(4, 64, 72)))
    seen = []
    runtime = Runtime(progress=lambda done, total, what: seen.append(what))
    result = run(volume, replace(LINEAR, selfcheck=False), runtime).result
    assert isinstance(result.volume.data, np.ndarray)
    np.testing.assert_array_equal(result.volume.data, run(Volume.of(stack), LINEAR, Runtime()).result.volume.data)
    assert "blocks" in seen


def test_a_result_without_room_is_refused_first(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_emsynth.tiling.device.free_bytes", lambda device: 2**16)
    with pytest.raises(InputError, match=r"needs 0\.0 GiB, the limit is 0\.0 GiB .* Lazy"):
        run(Volume.of(stack), LINEAR, Runtime())


def test_closing_leaves_the_work_of_other_docks(viewer: Any, session: Session, opened: Any, finish: Any) -> None:
    def forever(job: QueuedJob) -> None:
        while True:
            job.cancel.check()

    other = session.queue.submit(QueuedJob("another dock's", forever, owner="other"))
    ours = session.queue.submit(QueuedJob("ours", forever, owner="upsample"))
    opened.parent().close()
    assert ours.cancel.cancelled
    assert not other.cancel.cancelled
    assert not opened.job_bar._queue.visible_of("other")[0].is_over
    session.queue.cancel_all()
    finish(session)


def test_the_menus_open_both_docks(raw_viewer: Any, finish: Any) -> None:
    for title, kind in (("Upsample z", UpsampleZ), ("Fine alignment", FineAlignment)):
        _, dock = raw_viewer.window.add_plugin_dock_widget("napari-emsynth", title)
        assert isinstance(dock, kind)
        finish(dock.session)
        dock.leave()
    dock.session.close()


@pytest.mark.parametrize(
    "changes", [{"factor": 3, "sampling": "slab"}, {"tile": 32, "seed": 3}, {"factor": 4, "look": "natural"}]
)
def test_the_code_gives_the_voxels_of_the_dock(
    stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = io.write(Volume.of(stack, voxel_nm=(10, 10, 10)), tmp_path / "my stack.ome.tif")
    volume, settings = io.read(file), replace(LINEAR, selfcheck=False, **changes)
    ours = run(volume, settings, Runtime(device="cpu")).result.volume.data
    text = volume_code(settings, volume, str(file))
    exec(compile(text, "clipboard", "exec"), {})
    out = tmp_path / f"upsampled_x{settings.factor:g}.ome.tif"
    np.testing.assert_array_equal(io.read(out).read(slice(None)), ours)
    out.unlink()
    from napari_emsynth.cli.app import main

    (command,) = [line[2:] for line in text.splitlines() if line.startswith("# emsynth")]
    assert main(shlex.split(command)[1:]) in (0, None)
    np.testing.assert_array_equal(io.read(out).read(slice(None)), ours)
