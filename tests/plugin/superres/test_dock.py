"""The Super-resolve dock: what it offers, previews, adds and lays over a result; and that its code does the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_emsynth import io
from napari_emsynth.plugin.layers.field_of_view import Window
from napari_emsynth.plugin.restore.canvas_menu import install as install_menu
from napari_emsynth.plugin.superres.dock import SuperResolve, scores
from napari_emsynth.plugin.superres.form import SuperresForm
from napari_emsynth.plugin.superres.settings import SuperresSettings
from napari_emsynth.plugin.superres.views import fidelity_layer
from napari_emsynth.plugin.volume_task.layers import placed
from napari_emsynth.plugin.volume_task.preview import drawn, preview
from napari_emsynth.plugin.volume_task.run import bytes_needed, run
from napari_emsynth.plugin.volume_task.target import Target
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import SHARPENER
from napari_emsynth.volume import Known, Volume

SHARP = SuperresSettings(method=SHARPENER.id, device="cpu", selfcheck=False, with_mask=False, damaged="")
SPACE: dict[str, Any] = {"scale": (40, 64, 64), "translate": (8, 3, 5), "units": ["nm"] * 3}
NAME = "scan super-resolved x8"


@pytest.fixture
def scan() -> Any:
    """[5, 18, 20] uint8."""
    return Phantom(shape=(5, 18, 20), seed=3).volume().read(slice(None))


@pytest.fixture
def dock(raw_viewer: Any, finish: Callable[..., None], scan: Any, install: Any) -> Iterator[Any]:
    install(SHARPENER)
    session = install_menu(raw_viewer).session
    raw_viewer.add_image(scan, name="scan", contrast_limits=(0, 200), **SPACE)
    dock = SuperResolve(raw_viewer)
    raw_viewer.window.add_dock_widget(dock, name="Super-resolve")
    finish(session)
    dock.task.set_settings(SHARP)
    yield dock
    dock.leave()
    session.close()


def names(dock: Any) -> list[str]:
    return [layer.name for layer in dock.session.viewer.layers]


def test_run_undo_redo_and_compare(dock: Any, finish: Any, scan: Any) -> None:
    viewer = dock.session.viewer
    dock.task.set_settings(replace(SHARP, with_mask=True))
    dock.job_bar.button.click()
    finish(dock.session)
    assert names(dock) == ["scan", NAME, f"{NAME} synthetic"]
    source, result, mask = viewer.layers
    assert result.data.shape == mask.data.shape == (5, 144, 160)
    np.testing.assert_allclose(result.scale, (40, 8, 8))
    np.testing.assert_allclose(result.translate, (8, 3 - 28, 5 - 28))
    assert result.units == source.units
    assert list(result.contrast_limits) == [0, 200]
    assert mask.data.all()
    assert not mask.visible, "a tint over everything tells nothing"
    blocks = result.data.reshape(5, 18, 8, 20, 8).mean(axis=(2, 4))
    np.testing.assert_array_equal(blocks, scan)
    assert dock.session.compare(True)
    assert not result.visible
    dock.session.compare(False)
    dock.history.undo.click()
    assert names(dock) == ["scan"]
    dock.history.redo.click()
    assert NAME in names(dock)


def test_outer_edges_stay_however_the_layer_lies() -> None:
    affine = np.eye(4)
    affine[1, 3], affine[1, 2] = 11.0, 0.3
    layer = Image(
        np.zeros((2, 8, 9)), scale=(4, 2, 3), translate=(7, 1, 2), rotate=30, affine=affine, contrast_limits=(0, 1)
    )
    result = Image(np.zeros((2, 64, 72)), **placed(layer, SHARP).space)
    for ours, theirs in (((-0.5, -0.5), (-0.5, -0.5)), ((63.5, 71.5), (7.5, 8.5))):
        np.testing.assert_allclose(result.data_to_world((1, *ours)), layer.data_to_world((1, *theirs)))
    volume = Volume.of(np.zeros((2, 16, 16), np.uint8), voxel_nm=(4, 2, 3))
    grid = run(volume, replace(SHARP, method="bicubic"), Runtime()).result.volume.grid
    assert grid.shape == SHARP.shape((2, 16, 16))
    assert grid.origin_nm[1:] == pytest.approx((2 * SHARP.offset[1], 3 * SHARP.offset[2]))


def test_a_preview_is_what_a_run_gives(install: Any, scan: Any) -> None:
    install(SHARPENER)
    window = Window(sections=slice(1, 4), rows=slice(3, 17), columns=slice(0, 12), section=2)
    volume, told = Volume.of(scan, voxel_nm=(40, 64, 64)), []
    draw = drawn(volume, SHARP, window, Runtime(), {})
    (plane,) = preview(volume, SHARP, window, (40.0, 64.0, 64.0), draw, Runtime(), told=told.append)
    whole = run(volume, SHARP, Runtime()).result.volume.data
    np.testing.assert_array_equal(plane.after.pixels, whole[2, 24:136, :96])
    np.testing.assert_array_equal(plane.before.pixels, scan[2, 3:17, :12])
    for side in ("top", "left", "height", "width"):
        assert getattr(plane.before, side) == getattr(plane.after, side), "the same place on both sides"
    assert told[0].rate > 0


def test_preview_in_the_dock_says_how_long_a_run_takes(dock: Any, finish: Any, qtbot: Any) -> None:
    assert dock.sections.isHidden(), "no reslices are shown"
    assert "Preview tells" in dock.form.forecast.text()
    assert "5 x 144 x 160 voxels of 40 x 8 x 8 nm" in dock.form.forecast.text()
    dock.look.click()
    finish(dock.session)
    assert "about" in dock.form.forecast.text()
    before, after = dock.reslices.panes["xy"]
    assert after.picture.pixels.shape == tuple(8 * n for n in before.picture.pixels.shape)
    assert after.target() == before.target()
    assert before.cross is None
    dock.form.factor.setCurrentIndex(1)
    dock.form.factor.activated.emit(1)
    assert dock.task.settings.factor == 16
    assert after.is_faint
    dock.auto_box.setChecked(True)
    qtbot.waitUntil(lambda: not after.is_faint, timeout=60_000)
    dock.auto_box.setChecked(False)
    assert after.picture.pixels.shape == tuple(16 * n for n in before.picture.pixels.shape)
    window = dock.enlarge()
    assert window.reslices.panes["xy"][1].picture is not None
    window.close()


def test_the_form_offers_the_weights_of_the_factor(dock: Any) -> None:
    form = dock.form
    form.set_value(replace(SHARP, method="single-stage", factor=16))
    assert (form.weights.itemText(0), form.weights.itemData(0)) == ("x16", "")
    assert form.weights.findText("x8") < 0
    form.factor.setCurrentIndex(0)
    form.factor.activated.emit(0)
    assert form.weights.itemText(0) == "x8"
    assert (form.value().factor, form.value().weights) == (8, "")
    assert "40 x 64 x 64 nm become 40 x 8 x 8 nm" in form.voxel_line.text()
    assert "256 pixels for one" in form.promise_line.text()


def test_a_form_without_an_engine_keeps_every_value(qtbot: Any) -> None:
    form = SuperresForm(SuperresSettings())
    qtbot.addWidget(form)
    assert form.value() == SuperresSettings()
    other = SuperresSettings(method="mine", weights="w", factor=16, damaged="2", keep="file", seed=4)
    form.set_value(other)
    assert form.value() == other
    assert form.minimumSizeHint().width() <= 320


def test_fidelity_is_laid_over_the_result_and_goes_with_it(dock: Any, finish: Any, told: list[str]) -> None:
    boxes, viewer = dock.fidelity.boxes, dock.session.viewer
    assert not boxes["residual"].isEnabled()
    assert dock.task.views.show("residual", None) is None
    assert "no super-resolved volume" in told[-1]
    dock.run()
    finish(dock.session)
    for name, title in (("residual", "off the data"), ("prior", "prior")):
        boxes[name].click()
        finish(dock.session)
        assert f"{NAME} {title}" in names(dock)
        assert boxes[name].isChecked()
    off, prior = (viewer.layers[f"{NAME} {title}"] for title in ("off the data", "prior"))
    source, result = viewer.layers["scan"], viewer.layers[NAME]
    np.testing.assert_allclose(off.scale, source.scale)
    np.testing.assert_allclose(off.translate, source.translate, atol=1e-9)
    assert off.data.shape == source.data.shape
    np.testing.assert_allclose(prior.translate, result.translate)
    assert (prior.data == 0.5).all()
    low, high = off.contrast_limits
    assert low == -high
    boxes["prior"].click()
    assert f"{NAME} prior" not in names(dock)
    dock.history.undo.click()
    assert names(dock) == ["scan"], "what was laid over a result goes with it"
    assert not boxes["residual"].isChecked()


def test_of_a_result_in_a_file_the_section_on_screen_is_judged(
    dock: Any, finish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, path = dock.session.viewer, tmp_path / "fine.ome.zarr"
    monkeypatch.setattr("napari_emsynth.plugin.volume_task.destination.ask_file", lambda *_: path)
    dock.form.set_value(replace(SHARP, keep="file"))
    dock.task.set_settings(dock.form.value())
    dock.run()
    finish(dock.session)
    assert io.read(path).shape == (5, 144, 160)
    viewer.dims.set_point(0, 8 + 40 * 3)
    dock.fidelity.boxes["residual"].click()
    finish(dock.session)
    layer = viewer.layers[-1]
    assert layer.name.endswith("off the data (section 3)")
    assert layer.data.shape == (1, 18, 20)
    np.testing.assert_allclose(layer.translate, (8 + 40 * 3, 3, 5), atol=1e-9)


def test_memory_file_and_lazy_layers_give_the_same(install: Any, scan: Any, tmp_path: Path) -> None:
    install(SHARPENER)
    plain = run(Volume.of(scan), SHARP, Runtime()).result
    lazily = run(Volume.of(da.from_array(scan, chunks=(2, 9, 20))), SHARP, Runtime()).result
    for name in ("volume", "synthetic", "uncertainty", "prior", "residual"):
        one, other = getattr(plain, name), getattr(lazily, name)
        assert not other.is_lazy, "it was to be in memory"
        np.testing.assert_array_equal(other.data, one.data)
    there = run(Volume.of(scan), SHARP, Runtime(), target=Target(path=tmp_path / "a.zarr")).result
    np.testing.assert_array_equal(there.volume.read(slice(None)), plain.volume.data)
    assert bytes_needed(Volume.of(scan), SHARP) == 64 * scan.size * (1 + 1 + 4 + 4)


def test_a_result_upon_a_result_keeps_the_earlier_record(scan: Any) -> None:
    volume = replace(Volume.of(scan), known=Known(record={"task": "align"}))
    result = run(volume, replace(SHARP, method="bicubic"), Runtime()).result
    assert result.provenance["previous"] == {"task": "align"}
    assert result.synthetic.data.all()


def test_damaged_sections_are_found_and_said_in_code(
    dock: Any, finish: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = np.tile(scan, (3, 3, 3))
    spoilt[7] = 90
    viewer = dock.session.viewer
    layer = viewer.add_image(spoilt, name="spoilt", metadata={"path": "/data/spoilt.tif"}, **SPACE)
    dock.layer_box.choose(layer.unique_id)
    dock.form.detect.click()
    finish(dock.session)
    assert dock.form.damaged.text() == "7"
    assert dock.form.suspects.sections() == [7]
    code = dock.copy_code()
    assert "result = es.superresolve(volume, factor=8, damaged='7', " in code
    words = shlex.split(code.splitlines()[-1].removeprefix("# "))
    assert words[:4] == ["emsynth", "superres", "/data/spoilt.tif", "super_resolved_x8.ome.tif"]
    assert words[4:8] == ["--factor", "8", "--damaged", "7"]
    dock.layer_box.choose(viewer.layers["scan"].unique_id)
    assert dock.form.damaged.text() == "detected", "of each layer what was said of it"


def test_where_a_method_is_in_doubt_bicubic_is_offered(dock: Any, finish: Any) -> None:
    dock.run()
    finish(dock.session)
    dock.notices.show_lines(["in doubt"], "bicubic")
    assert dock.notices.button.text() == "Use bicubic instead"
    dock.notices.button.click()
    finish(dock.session)
    assert names(dock) == ["scan", NAME], "instead of the other result"
    assert dock.session.viewer.layers[NAME].metadata["emsynth"]["method"] == "bicubic"
    check = {"psnr": 26.0, "bicubic": 25.0, "nearest": 24.0, "n": 3}
    assert scores(check) == "Self-check on 3 sections made coarser: 26.0 dB, bicubic 25.0 dB (+1.0)"
    assert "as bicubic" in scores({**check, "psnr": 25.0})


def test_bad_layers_are_one_line(dock: Any, finish: Any, told: list[str]) -> None:
    viewer = dock.session.viewer
    small = viewer.add_image(np.zeros((1, 15, 40), np.uint8), name="small")
    colours = viewer.add_image(np.zeros((4, 18, 18, 3), np.uint8), rgb=True, name="colours")
    for layer, words in ((small, "limit is 16 x 16 px"), (colours, "RGB")):
        dock.layer_box.choose(layer.unique_id)
        dock.task.set_settings(SHARP)
        for act in (dock.run, dock.preview):
            told.clear()
            act()
            finish(dock.session)
            (line,) = told
            assert words in line
            assert "\n" not in line
    assert len(viewer.layers) == 3


def test_the_colours_of_a_residual_are_even() -> None:
    data = np.zeros((1, 4, 5), np.float32)
    space = {"scale": (1, 1, 1), "translate": (0, 0, 0), "rotate": np.eye(3), "shear": np.zeros(3)}
    layer = fidelity_layer("residual", data, (1, 32, 40), space)
    assert layer.colormap.map(np.array([0.5]))[0, 3] == pytest.approx(0, abs=0.01), "nothing where it was right"
    np.testing.assert_allclose(layer.scale, (1, 8, 8))
