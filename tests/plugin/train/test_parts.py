"""The parts of the Train models dock that need no window: regions, curves, previews, code."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.interpolate.linear import SPEC as LINEAR
from napari_emsynth.plugin.train import region as regions
from napari_emsynth.plugin.train.code import as_code
from napari_emsynth.plugin.train.curves import describe, gains, smoothed
from napari_emsynth.plugin.train.preview import TaskPreview, middle_of
from napari_emsynth.plugin.train.run import CURVE_POINTS, Curve, TrainingRun
from napari_emsynth.plugin.train.session import check_free, volume_for
from napari_emsynth.spec import CancelToken
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.job import TrainingJob
from napari_emsynth.volume import Volume
from napari_emsynth.weights import own

JOB = TrainingJob(method="interpolate/emsynth", out="/weights/mine.safetensors", minutes=5.0)


def phantom(shape: tuple[int, int, int] = (24, 64, 72)) -> Volume:
    return Volume.of(Phantom(shape=shape, seed=3).volume().read(slice(None)), voxel_nm=(40, 8, 8), name="stack")


# -- curves ----------------------------------------------------------------------------------------


def test_a_curve_keeps_its_mean_and_its_length() -> None:
    curve = Curve()
    for n in range(10 * CURVE_POINTS):
        curve.add(n, 2.0 * n)
    assert CURVE_POINTS / 2 <= len(curve.points) < 2 * CURVE_POINTS
    assert all(y == pytest.approx(2 * x) for x, y in curve.points)
    xs = [x for x, _ in curve.points]
    assert xs == sorted(xs)
    assert xs[-1] > 9.9 * CURVE_POINTS


def test_gains_over_any_floor() -> None:
    record = {"step": 7.0, "seconds": 3.0, "score": 1.0, "mid_band": 0.5}
    many = {**record, "psnr_1": 30.0, "linear_1": 29.0, "psnr_2": 28.0, "linear_2": 28.5}
    assert gains([many]) == {"linear, gap 1": [(7.0, 1.0)], "linear, gap 2": [(7.0, -0.5)]}
    assert gains([{**record, "psnr": 30.0, "blurred_linear": 27.0}]) == {"blurred_linear": [(7.0, 3.0)]}
    assert gains([record]) == {"score": [(7.0, 1.0)]}


def test_a_floor_that_all_curves_share_is_named_once() -> None:
    both = {"linear, gap 1": [(1.0, 0.5)], "linear, gap 2": [(1.0, -0.25)]}
    text = describe(both, has_floor=True)
    assert text.startswith("Held-out sections, dB above linear:")
    assert "gap&nbsp;1&nbsp;<b>+0.50</b>" in text
    assert "linear,&nbsp;gap&nbsp;1" in describe({**both, "nearest": [(1.0, 2.0)]}, has_floor=True)
    assert describe({"score": [(1.0, 2.0)]}, has_floor=False).startswith("Held-out sections:")


def test_smoothing_follows() -> None:
    assert smoothed([]) == []
    flat = [(float(n), 3.0) for n in range(100)]
    np.testing.assert_allclose(smoothed(flat), flat)
    step = [(float(n), float(n > 50)) for n in range(200)]
    assert smoothed(step)[-1][1] == pytest.approx(1, abs=1e-3)


# -- regions ---------------------------------------------------------------------------------------


@pytest.fixture
def layer(raw_viewer: Any) -> Any:
    return raw_viewer.add_image(phantom().data, name="stack", scale=(4, 2, 2), units=["nm"] * 3)


def test_everything_and_sections(layer: Any) -> None:
    whole = regions.everything(layer)
    assert whole == ((0, 24), (0, 64), (0, 72))
    assert regions.cut_sections(whole, 3, 20) == ((3, 21), (0, 64), (0, 72))
    with pytest.raises(InputError, match="sections 30 to 40 have nothing in common with the region's 0 to 23"):
        regions.cut_sections(whole, 30, 40)


def test_a_box_is_taken_where_voxel_centres_lie_inside(raw_viewer: Any, layer: Any) -> None:
    box = np.array([[20.0, 9.0], [20.0, 41.0], [60.0, 41.0], [60.0, 9.0]])
    shapes = raw_viewer.add_shapes([box], shape_type="rectangle", name="box")
    assert regions.in_shapes(raw_viewer, shapes, layer) == ((0, 24), (10, 31), (5, 21))
    outside = raw_viewer.add_shapes([box + 1000], shape_type="rectangle", name="outside")
    with pytest.raises(InputError, match="nothing is drawn in layer 'outside' inside layer 'stack'"):
        regions.in_shapes(raw_viewer, outside, layer)
    empty = raw_viewer.add_shapes(name="empty", ndim=2)
    with pytest.raises(InputError, match="nothing is drawn in layer 'empty'"):
        regions.in_shapes(raw_viewer, empty, layer)


def test_boxes_on_several_sections_say_which(raw_viewer: Any, layer: Any) -> None:
    plane = np.array([[0, 8, 8], [0, 8, 40], [0, 40, 40], [0, 40, 8]], float)
    boxes = [plane + np.array([z, 0, 0]) for z in (2, 17)]
    shapes = raw_viewer.add_shapes(boxes, shape_type="rectangle", name="box", scale=(4, 2, 2), units=["nm"] * 3)
    assert regions.in_shapes(raw_viewer, shapes, layer) == ((2, 18), (8, 41), (8, 41))


def test_the_view(raw_viewer: Any, layer: Any) -> None:
    seen = SimpleNamespace(
        name="stack", data=layer.data, multiscale=False, corner_pixels=np.array([[0, 10, -5], [0, 30, 20]])
    )
    assert regions.in_view(raw_viewer, seen) == ((0, 24), (10, 31), (0, 21))
    seen.corner_pixels = np.array([[0, 100, 100], [0, 200, 200]])
    with pytest.raises(InputError, match="shows nothing of layer 'stack'"):
        regions.in_view(raw_viewer, seen)
    raw_viewer.dims.ndisplay = 3
    with pytest.raises(InputError, match="does not show sections"):
        regions.in_view(raw_viewer, seen)


# -- preview ---------------------------------------------------------------------------------------


def test_the_crop_is_the_middle_of_the_last_sections() -> None:
    volume = Volume.of(np.random.default_rng(0).integers(0, 255, (40, 200, 300), np.uint8))
    crop = middle_of(JOB, volume)
    np.testing.assert_array_equal(crop.data, volume.data[15:40, 36:164, 86:214])
    cut = TrainingJob(method="a/b", out="w.safetensors", steps=1, roi=((0, 20), (0, 50), (10, 300)))
    np.testing.assert_array_equal(middle_of(cut, volume).data, volume.data[0:20, 0:50, 91:219])


@pytest.mark.parametrize("task", ["interpolate", "upsample"])
def test_previews_show_before_now_and_truth(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINEAR.id == "linear"
    job = TrainingJob(method=f"{task}/linear", out="w.safetensors", steps=1, device="cpu", start="scratch")
    preview = TaskPreview.of(job, phantom())
    draw = preview.draw
    monkeypatch.setattr(preview, "draw", lambda method, weights, runtime: draw(method, None, runtime))
    before, now, truth = preview.panels("none", CancelToken())
    assert [p.title for p in (before, now, truth)] == ["linear", "now", "truth"]
    assert before.image.shape == now.image.shape == truth.image.shape
    assert before.psnr == now.psnr
    assert truth.psnr is None
    assert now.caption == f"now\n{now.psnr:.2f} dB"
    assert truth.image.dtype == np.uint8
    assert truth.image.std() > 10


def test_previews_that_cannot_be() -> None:
    with pytest.raises(InputError, match="the task superres has no preview"):
        TaskPreview.of(TrainingJob(method="superres/x", out="w.safetensors", steps=1), phantom())
    with pytest.raises(InputError, match="too few"):
        TaskPreview.of(JOB, phantom((2, 64, 64)))


# -- code and files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job",
    [
        JOB,
        TrainingJob(
            method="interpolate/emsynth", out="/weights/my own.safetensors", steps=7, start="scratch",
            objective="accurate", roi=((0, 20), (2, 60), (0, 72)), device="cpu", seed=3, source="/data/stack.tif",
        ),
    ],
)  # fmt: skip
def test_the_code_makes_the_same_job(job: TrainingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    import napari_emsynth as es
    from napari_emsynth.cli import main, train as command
    from napari_emsynth.methods import train as methods_train

    made: list[TrainingJob] = []

    def take(job: TrainingJob, *args: Any, **kwargs: Any) -> dict[str, Any]:
        made.append(job)
        return {"method": "", "before": {}, "after": {}, "steps": 0, "file": "mine", "gained": True}

    monkeypatch.setattr(methods_train, "run", take)
    monkeypatch.setattr(es, "read", lambda *_args, **_options: phantom())
    monkeypatch.setattr(command, "check_weights_file", lambda *_args, **_options: None)
    monkeypatch.setattr("napari_emsynth.cli.groups.Common.open", lambda *_args: phantom())
    text = as_code(job, phantom())
    exec(compile("\n".join(line for line in text.splitlines() if line[:1] != "#"), "code", "exec"), {})
    line = text.splitlines()[-1].removeprefix("# ")
    assert main(shlex.split(line)[1:]) == 0
    for found in made:
        asked = {**found.to_json(), "source": None, "data": "", "voxel_nm": None}
        assert asked == {**job.to_json(), "source": None}
    assert len(made) == 2
    assert ("export layer 'stack' to stack.tif first" in text) == (job.source is None)


def test_names_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "folder", lambda: tmp_path)
    assert own.file_of("my-weights_2") == tmp_path / "my-weights_2.safetensors"
    for bad in ("", "../x", "a.b", "a b", "-x", "x" * 81):
        with pytest.raises(InputError, match="no name for weights"):
            own.file_of(bad)
    for taken in ("accurate", "scratch"):
        with pytest.raises(InputError, match="name of bundled weights"):
            own.file_of(taken, ("accurate",))


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    job = TrainingJob(method="a/b", out=str(tmp_path / "mine.safetensors"), steps=1)
    check_free(job)
    job.checkpoint.write_bytes(b"")
    with pytest.raises(InputError, match="'mine' is unfinished"):
        check_free(job)
    job.path.write_bytes(b"")
    with pytest.raises(InputError, match="'mine' are there already"):
        check_free(job)


def test_an_unfinished_job_finds_its_volume(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    file.write_bytes(b"")
    job = TrainingJob(method="a/b", out="w.safetensors", steps=1, source=str(file), data="stack")
    layers = [("other", None, "A"), ("stack", None, "B"), ("renamed", str(file), "C")]
    assert volume_for(job, layers, "chosen", str) == "C"
    assert volume_for(job, layers[:2], "chosen", str) == "B"
    assert volume_for(job, layers[:1], "chosen", lambda path: f"read {path}") == f"read {file}"
    file.unlink()
    assert volume_for(job, layers[:1], "chosen", str) == "chosen"


def test_a_run_says_how_far_it_is() -> None:
    run = TrainingRun(JOB, phantom())
    assert "first step" in run.describe()
    run.terms = {"step": 12, "seconds": 30.0, "loss": 0.25}
    assert run.describe() == "step 12, 30 s of 5 min, loss 0.25"
    half = TrainingRun(replace(JOB, minutes=3.5), phantom())
    half.terms = run.terms
    assert "30 s of 3.5 min" in half.describe()
    run.pause()
    assert run.describe().endswith("- paused")
    run.go_on()
    run.stop()
    assert run.describe().endswith("- stopping")
