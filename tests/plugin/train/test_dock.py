"""The Train models dock: train, pause, stop, go on, see the weights everywhere; with a network of two numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QApplication
from torch import nn

from napari_emsynth.methods.interpolate.protocol import Synthesis
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.train.dock import TrainModels
from napari_emsynth.plugin.train.form import MINUTES, STEPS, TrainSettings, texts
from napari_emsynth.plugin.train.session import TrainSession
from napari_emsynth.spec import MethodSpec
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.job import unfinished_in
from napari_emsynth.training.recipe import Recipe
from napari_emsynth.weights import own, store

METHOD = "interpolate/two-numbers"


class Network(nn.Module):
    """Weighs the section below and the one above."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([1.0, 0.0]))


class TwoNumbers(Recipe):
    """Learns that both sections count alike."""

    method = METHOD
    pace_s = 0.0

    def __init__(self, data: Any, start: Any = None, config: Any = None) -> None:
        self.data, self.start = data, start

    def fingerprint(self) -> dict[str, Any]:
        return {"method": METHOD, "data": self.data.fingerprint()}

    def build(self) -> nn.Module:
        return Network()

    def loss(self, network: Any, rng: Any, device: Any) -> Any:
        time.sleep(self.pace_s)
        loss = (network.weights - 0.5).square().sum()
        return loss, {}

    def validate(self, network: Any, device: Any) -> dict[str, float]:
        error = float((network.weights - 0.5).square().sum())
        return {"psnr_1": 30.0 - error, "linear_1": 29.0, "score": 1.0 - error}

    def facts(self, network: Any, device: Any) -> dict[str, Any]:
        return {"config": {}, "factor": 1.0, "voxel_nm": (1.0, 100.0)}


class Built:
    halo, factor = 1, 1.0

    def __init__(self, weights: str | None) -> None:
        self.weights = None if weights is None else store.load(METHOD, weights)[0]["weights"].tolist()

    def __call__(self, gap: Any, runtime: Any) -> Synthesis:
        below, above = self.weights or (0.5, 0.5)
        return Synthesis((below * gap.below + above * gap.above).astype(np.float32))


SPEC = MethodSpec(
    task="interpolate", id="two-numbers", title="Two numbers", summary="For tests.",
    build=lambda params, runtime, weights: Built(weights),
    recipes={"plain": TwoNumbers, "fancy": TwoNumbers}, weights=("plain",),
)  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of our own, and the small method."""
    from napari_emsynth import methods

    monkeypatch.setattr(own, "folder", lambda: tmp_path / "weights")
    point = SimpleNamespace(name="two-numbers", load=lambda: SPEC)
    monkeypatch.setattr(methods, "entry_points", lambda group: [point])
    monkeypatch.setattr(TwoNumbers, "pace_s", 0.0)
    return tmp_path / "weights"


@pytest.fixture
def dock(raw_viewer: Any, qtbot: Any) -> Iterator[TrainModels]:
    data = Phantom(shape=(24, 64, 72), seed=3).volume().read(slice(None))
    raw_viewer.add_image(data, name="my stack", scale=(40, 8, 8), units=["nm"] * 3)
    yield opened(raw_viewer, qtbot)
    install(raw_viewer).session.close()


def opened(viewer: Any, qtbot: Any) -> TrainModels:
    dock = TrainModels(viewer)
    viewer.window.add_dock_widget(dock, name="Train models")
    qtbot.waitUntil(lambda: dock.session.engine is not None, timeout=60_000)
    dock.form.set_value(TrainSettings(method=METHOD, start="scratch", minutes=None, steps=20, device="cpu"))
    return dock


def wait(qtbot: Any, dock: TrainModels) -> None:
    qtbot.waitUntil(lambda: not dock.training.is_running, timeout=60_000)


def test_train_and_use_at_once(dock: TrainModels, qtbot: Any, folder: Path, told: list[str]) -> None:
    from napari_emsynth.plugin.restore.canvas_menu import open_dock

    restore = open_dock(RestoreTask.of(dock.session))
    restore.form.set_value(restore.task.settings.__class__(method="two-numbers"))
    assert "my-stack" not in texts(restore.form.weights)
    dock.train.click()
    assert dock.pause.isVisibleTo(dock)
    assert not dock.train.isVisibleTo(dock)
    assert not dock.form.isEnabled()
    wait(qtbot, dock)
    assert sorted(p.name for p in folder.iterdir()) == ["my-stack.safetensors", "my-stack.toml"]
    _, card = store.load(METHOD, "my-stack")
    assert (card.steps, card.objective, card.data) == (20, "plain", "my stack")
    assert "finished after 20 steps" in told[-1]
    assert "saved as my-stack" in dock.line.text()
    assert "my-stack" in texts(restore.form.weights), "the new weights are offered everywhere at once"
    assert "my-stack" in texts(dock.form.start)
    assert dock.form.value().name == "my-stack-2"
    assert [p.title for p in dock.panels.shown] == ["linear", "now", "truth"]
    assert len(dock.curves.lines) == 1
    assert dock.train.isVisibleTo(dock)
    restore.leave()
    dock.leave()


def test_pause_holds_and_stop_keeps_the_best(dock: TrainModels, qtbot: Any, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(TwoNumbers, "pace_s", 0.005)
    dock.form.budget.setValue(100_000)
    dock.train.click()
    qtbot.waitUntil(lambda: dock.training.run.terms.get("step", 0) > 3, timeout=60_000)
    dock.pause.click()
    assert dock.pause.text() == "Go on"
    qtbot.wait(150)
    held = dict(dock.training.run.terms)
    qtbot.wait(250)
    assert dock.training.run.terms == held
    assert "paused" in dock.line.text()
    dock.pause.click()
    qtbot.waitUntil(lambda: dock.training.run.terms["step"] > held["step"], timeout=60_000)
    dock.pause.click()
    dock.stop.click()
    wait(qtbot, dock)
    assert (folder / "my-stack.safetensors").exists()
    assert "stopped after" in dock.line.text()
    assert dock.left.isVisibleTo(dock), "a stopped run can be gone on with"
    dock.left.forget.click()
    assert not dock.left.isVisibleTo(dock)
    assert sorted(p.name for p in folder.iterdir()) == ["my-stack.safetensors", "my-stack.toml"]
    dock.leave()


def test_closing_the_window_leaves_a_checkpoint_and_the_next_goes_on(
    make_napari_viewer: Any, qtbot: Any, folder: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(TwoNumbers, "pace_s", 0.005)
    data = Phantom(shape=(24, 64, 72), seed=3).volume().read(slice(None))
    first = make_napari_viewer()
    first.add_image(data, name="my stack")
    dock = opened(first, qtbot)
    dock.form.budget.setValue(100_000)
    dock.train.click()
    qtbot.waitUntil(lambda: dock.training.run.terms.get("step", 0) > 3, timeout=60_000)
    dock.leave()
    dock.session.close()
    assert sorted(p.name for p in folder.iterdir()) == ["my-stack.ckpt.safetensors", "my-stack.job.json"]
    (left,) = unfinished_in(folder)
    assert left.step >= 4
    second = make_napari_viewer()
    second.add_image(data + 1, name="another")
    second.add_image(data, name="my stack")
    again = opened(second, qtbot)
    assert again.left.runs.currentText().startswith(f"my-stack: {METHOD}, step {left.step}")
    again.run()
    assert not again.training.is_running, "its name is taken"
    again.left.go_on.click()
    qtbot.waitUntil(lambda: again.training.run.terms.get("step", 0) > left.step, timeout=60_000)
    assert again.training.run.checks[0] == left.history[0], "the curves of the first session are there again"
    again.stop.click()
    wait(qtbot, again)
    assert store.load(METHOD, "my-stack")[1].steps > left.step
    again.leave()
    again.session.close()


def test_a_run_goes_on_only_with_its_own_voxels(dock: TrainModels, qtbot: Any, folder: Path, told: list[str]) -> None:
    dock.form.budget.setValue(100_000)
    dock.train.click()
    qtbot.waitUntil(lambda: bool(dock.training.run.terms), timeout=60_000)
    dock.stop.click()
    wait(qtbot, dock)
    layer = dock.session.viewer.layers["my stack"]
    layer.data = layer.data[:, ::-1]
    dock.left.go_on.click()
    wait(qtbot, dock)
    assert "belongs to another method, configuration, region or volume" in told[-1]
    assert dock.line.text() == told[-1]
    assert len(unfinished_in(folder)) == 1
    dock.leave()


def test_a_closed_dock_loses_nothing(dock: TrainModels, qtbot: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(TwoNumbers, "pace_s", 0.005)
    dock.form.budget.setValue(100_000)
    dock.train.click()
    qtbot.waitUntil(lambda: bool(dock.training.run.terms), timeout=60_000)
    viewer, training = dock.session.viewer, dock.training
    viewer.window.remove_dock_widget(dock)
    QApplication.processEvents()
    assert training.is_running
    again = TrainModels(viewer)
    viewer.window.add_dock_widget(again, name="Train models")
    assert again.training is training
    assert TrainSession.of(again.session) is training
    assert again.stop.isVisibleTo(again)
    again.stop.click()
    wait(qtbot, again)
    again.leave()


def test_bad_input_is_one_line(dock: TrainModels, qtbot: Any, folder: Path, told: list[str]) -> None:
    def refused(words: str, **change: Any) -> None:
        told.clear()
        settings = {"method": METHOD, "start": "scratch", "minutes": None, "steps": 3, "device": "cpu"}
        dock.form.set_value(TrainSettings(**{**settings, **change}))
        dock.train.click()
        wait(qtbot, dock)
        assert words in told[-1]
        assert "\n" not in told[-1]
        assert not folder.exists() or list(folder.iterdir()) == []

    refused("no name for weights", name="a/b")
    refused("weights 'missing'", start="missing")
    dock.region.last.setValue(9)
    refused("at least 16 sections, got 10", method="interpolate/emsynth", start="")
    small = dock.session.viewer.add_image(np.zeros((20, 20, 20), np.uint8), name="small")
    dock.region.layer_box.choose(small.unique_id)
    refused("px", method="interpolate/emsynth", start="")
    dock.leave()


def test_damage_that_is_learnt_from_is_said(dock: TrainModels, qtbot: Any, told: list[str]) -> None:
    layer = dock.region.layer()
    for section in (3, 4, 22):
        RestoreTask.of(dock.session).mark(layer, section)
    dock.region.last.setValue(20)
    dock.train.click()
    assert told[-1].startswith("sections 3-4 are marked as damaged")
    wait(qtbot, dock)
    dock.leave()


def test_without_a_layer(raw_viewer: Any, qtbot: Any, told: list[str]) -> None:
    dock = opened(raw_viewer, qtbot)
    for act in (dock.run, dock.copy_code):
        act()
        assert "no layer is chosen" in told[-1]
    dock.leave()
    dock.session.close()


def test_the_form_round_trips_and_copies_code(dock: TrainModels, qtbot: Any) -> None:
    for settings in (
        TrainSettings(method=METHOD, start="scratch", objective="fancy", minutes=2.5, seed=4, name="mine"),
        TrainSettings(method="interpolate/emsynth", minutes=None, steps=12, device="cpu", name="mine"),
    ):
        dock.form.set_value(settings)
        assert dock.form.value() == settings
    dock.region.first.setValue(2)
    dock.region.last.setValue(21)
    job = dock.job()
    assert job.roi == ((2, 22), (0, 64), (0, 72))
    assert job.path.name == "mine.safetensors"
    text = dock.copy_code()
    assert QApplication.clipboard().text() == text
    assert "emsynth train interpolate/emsynth my_stack.tif" in text
    assert "--roi 2:22,0:64,0:72" in text
    dock.form.unit.setCurrentText(MINUTES)
    dock.form.unit.activated.emit(0)
    assert dock.form.value().minutes == 10
    dock.form.unit.setCurrentText(STEPS)
    dock.form.unit.activated.emit(1)
    assert dock.form.value().steps == 1000
    dock.leave()


def test_the_dock_is_narrow_and_scrolls(dock: TrainModels, qtbot: Any) -> None:
    dock.train.click()
    wait(qtbot, dock)
    assert "<b>" in dock.curves.words.text()
    assert dock.sizeHint().width() <= 320
    assert dock.scroll.widget().minimumSizeHint().width() <= 285, "beside the scroll bar"
    assert dock.minimumSizeHint().height() <= 300
    dock.leave()
