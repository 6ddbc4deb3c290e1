"""Fine-tuning end to end, in seconds: files, resumption, refusals."""

import json

import numpy as np
import pytest
import torch

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods import train as methods_train, train_input
from napari_emsynth.methods.train import run, train
from napari_emsynth.methods.train_input import crop, naming
from napari_emsynth.samples import truth
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.damage import plant
from napari_emsynth.training import checkpoint
from napari_emsynth.training.job import TrainingJob, unfinished_in
from napari_emsynth.volume import Volume
from napari_emsynth.weights import store

METHOD = "interpolate/emsynth"


def volume():
    return Volume.of(truth().read(slice(0, 24), slice(0, 96), slice(0, 96)), voxel_nm=(10, 10, 10), name="crop")


def test_training_writes_weights_that_load(tmp_path):
    out = tmp_path / "mine.safetensors"
    steps = []
    report = train(METHOD, volume(), out, steps=2, save_anyway=True, on_step=lambda t: steps.append(t["step"]))
    assert json.loads(json.dumps(report)) == report
    assert steps == [1, 2]
    assert report["finished"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.safetensors", "mine.toml"]
    _, card = store.load(METHOD, str(out))
    assert card.sha256 == report["weights"]["sha256"]
    assert card.data == "crop"
    assert card.steps == 2
    assert {"score", "psnr_1", "linear_1"} <= set(card.figures["validation"])


def test_nothing_is_saved_where_nothing_was_gained(tmp_path, monkeypatch):
    monkeypatch.setattr(methods_train, "LR_FINE", 0.0)
    out = tmp_path / "mine.safetensors"
    report = train(METHOD, volume(), out, steps=2)
    assert (report["gained"], report["file"], report["weights"]) == (False, None, None)
    assert report["after"] == report["before"]
    assert list(tmp_path.iterdir()) == []
    asked = train(METHOD, volume(), out, steps=2, save_anyway=True)
    assert (asked["gained"], asked["file"]) == (False, str(out))
    mine, bundled = (store.load(METHOD, name)[0] for name in (str(out), "accurate"))
    assert all(torch.equal(mine[name], bundled[name]) for name in bundled)


def test_a_cancelled_run_keeps_its_best_and_goes_on(tmp_path):
    out, token = tmp_path / "mine.safetensors", CancelToken()
    first = train(
        METHOD,
        volume(),
        out,
        steps=3,
        save_anyway=True,
        runtime=Runtime(cancel=token),
        on_step=lambda t: token.cancel(),
    )
    assert not first["finished"]
    assert first["steps"] == 1
    assert (tmp_path / "mine.ckpt.safetensors").exists()
    second = train(METHOD, volume(), out, steps=3, save_anyway=True, resume=True)
    assert second["steps"] == 3
    assert not (tmp_path / "mine.ckpt.safetensors").exists()


def test_a_killed_run_goes_on_from_its_description(tmp_path):
    out = tmp_path / "mine.safetensors"

    def kill(terms):
        raise Cancelled("as a window that closes")

    with pytest.raises(Cancelled):
        train(METHOD, volume(), out, steps=3, save_anyway=True, start="scratch", runtime=Runtime(seed=5), on_step=kill)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.ckpt.safetensors", "mine.job.json"]
    (left,) = unfinished_in(tmp_path)
    assert (left.step, left.job.steps, left.job.start, left.job.seed) == (1, 3, "scratch", 5)
    with pytest.raises(InputError, match="another method, configuration, region or volume"):
        train(METHOD, volume(), out, roi=(slice(0, 20), slice(None), slice(None)), resume=True)
    assert unfinished_in(tmp_path) == [left], "a refused resumption leaves the description as it was"
    seen = []
    done = run(left.job, volume(), on_step=lambda terms: seen.append(terms["step"]))
    assert (seen, done["steps"], done["finished"]) == ([2, 3], 3, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.safetensors", "mine.toml"]
    with pytest.raises(InputError, match="is finished: no checkpoint"):
        train(METHOD, volume(), out, resume=True)


def test_drafts_are_weights_that_the_task_takes(tmp_path):
    scores = []

    def draft(found):
        scores.append(found.scores["score"])
        found.write(tmp_path / "draft.safetensors")

    job = TrainingJob(method=METHOD, out=str(tmp_path / "w.safetensors"), steps=1)
    run(job, volume(), on_draft=draft)
    assert len(scores) == 1
    tensors, card = store.load(METHOD, str(tmp_path / "draft.safetensors"))
    assert tensors
    assert card.config == store.read_card(METHOD, "accurate").config


def test_a_lost_gpu_names_the_last_checkpoint(tmp_path, monkeypatch):
    out = tmp_path / "w.safetensors"

    def lost(recipe, plan, path, **options):
        path.write_bytes(b"checkpoint")
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(methods_train, "fit", lost)
    monkeypatch.setattr(methods_train, "resolve", lambda name: torch.device("cuda", 0))
    with pytest.raises(InputError) as said:
        train(METHOD, volume(), out, steps=1, save_anyway=True)
    assert str(said.value) == (
        "device cuda:0 was lost while training (CUDA error: unspecified launch failure); "
        f"the last checkpoint is {tmp_path / 'w.ckpt.safetensors'}"
    )
    assert (tmp_path / "w.job.json").exists()


def test_our_own_mistakes_are_not_called_a_lost_gpu(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), naming(tmp_path / "c", torch.device("cpu")):
        raise RuntimeError("a bug")
    said = r"not enough memory on cpu .*no checkpoint was written"
    with pytest.raises(InputError, match=said), naming(tmp_path / "c", torch.device("cpu")):
        raise MemoryError
    with pytest.raises(InputError, match="was lost"), naming(tmp_path / "c", torch.device("cuda", 0)):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_full_disk_keeps_the_last_checkpoint_and_names_it(tmp_path, monkeypatch):
    out = tmp_path / "w.safetensors"
    token = CancelToken()
    train(
        METHOD,
        volume(),
        out,
        steps=9,
        save_anyway=True,
        runtime=Runtime(cancel=token),
        on_step=lambda t: token.cancel(),
    )
    before = (tmp_path / "w.ckpt.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"w.ckpt.safetensors could not be .*No space left.*last one there is kept"):
        train(METHOD, volume(), out, steps=2, save_anyway=True, resume=True)
    assert (tmp_path / "w.ckpt.safetensors").read_bytes() == before
    assert len(unfinished_in(tmp_path)) == 1


def test_nothing_is_written_into_the_package(monkeypatch):
    bundled = store.HERE / "mine.safetensors"
    with pytest.raises(InputError, match="inside the installed package"):
        train(METHOD, volume(), bundled, steps=1)
    assert not bundled.exists()


def test_a_region_larger_than_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(train_input, "free_bytes", lambda device: 100_000)
    with pytest.raises(InputError, match=r"region to learn from is .* GiB, above the limit of"):
        crop(volume(), (slice(0, 20), slice(None), slice(None)))


def test_weights_of_another_configuration(tmp_path):
    tensors, card = store.load(METHOD, "accurate")
    first = next(iter(tensors))
    path = tmp_path / "other.safetensors"
    store.write(path, path.with_suffix(".toml"), {**tensors, first: tensors[first][:1]}, card)
    with pytest.raises(InputError, match="do not fit the architecture of interpolate/emsynth: size mismatch"):
        train(METHOD, volume(), tmp_path / "w.safetensors", steps=1, start=str(path))
    assert not (tmp_path / "w.job.json").exists()


def test_regions_are_cut_out():
    cut = crop(volume(), (slice(2, 20), slice(None), slice(10, 60)))
    assert cut.shape == (18, 96, 50)
    np.testing.assert_array_equal(cut.data, volume().data[2:20, :, 10:60])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "x.pt"}, "not as 'x.pt'"),
        ({"minutes": 1}, "either a time in minutes or a number of steps"),
        ({"steps": 0}, "not above the limit of 0 steps"),
        ({"roi": (slice(0, 8), slice(None), slice(None))}, "at least 16 sections, got 8"),
        ({"roi": (slice(0, 20), slice(0, 20), slice(None))}, "32 x 32 px"),
        ({"roi": (slice(0, 99), slice(None), slice(None))}, "region 0:99 along z is outside 0:24"),
        ({"roi": (slice(0, 9),)}, "1 ranges, needs 3"),
        ({"start": "missing"}, "weights 'missing'"),
        ({"objective": "beauty"}, "objective 'beauty' of interpolate/emsynth is not one of accurate"),
        ({"only": "half"}, "interpolate/emsynth is learned as a whole: it has no part 'half' to train"),
        ({"name": "interpolate/linear"}, "nothing to train"),
        ({"name": "linear"}, "not of the form TASK/ID"),
    ],
)
def test_bad_requests_write_nothing(tmp_path, options, words):
    name, out = options.pop("name", METHOD), tmp_path / options.pop("out", "w.safetensors")
    with pytest.raises(InputError, match=words):
        train(name, volume(), out, **({"steps": 1} | options))
    assert list(tmp_path.iterdir()) == []


DAMAGE = {5: "blank", 11: "displaced", 16: "half-missing"}


def planted(sections=40, plan=DAMAGE, **options):
    clean = truth().read(slice(0, sections), slice(0, 96), slice(0, 96))
    return Volume.of(plant(clean, plan, seed=1)[0], **options)


def lessons(monkeypatch, tmp_path, method, data, **options):
    """What a recipe would learn from, and what is said; it is stopped before it does."""
    given, notes = [], []

    def fitted(recipe, *_, **__):
        given.append(recipe.data)
        raise Cancelled("seen enough")

    monkeypatch.setattr(methods_train, "fit", fitted)
    with pytest.raises(Cancelled):
        train(method, data, tmp_path / "w.safetensors", steps=1, runtime=Runtime(note=notes.append), **options)
    return given[0], notes


@pytest.mark.parametrize("method", [METHOD, "interpolate/jain2017", "align/ssemnet", "upsample/emsynth"])
def test_damaged_sections_are_no_lessons(monkeypatch, tmp_path, method):
    damaged = planted()
    data, notes = lessons(monkeypatch, tmp_path, method, damaged)
    shown = [section for block in (*data.blocks, *data.held_out) for section in block]
    used = {z for section in shown for z in range(40) if (section == damaged.data[z]).all()}
    assert used == set(range(40)) - set(DAMAGE)
    (line,) = (line for line in notes if "look damaged" in line)
    assert "5 (blank), 11 (displaced), 16 (half-missing) look damaged: left out of training" in line


def test_the_report_tells_sections_as_the_user_counts_them(tmp_path):
    region = (slice(8, 40), slice(0, 96), slice(0, 96))
    report = train(METHOD, planted(), tmp_path / "w.safetensors", steps=1, roi=region)
    assert [e["section"] for e in report["left_out"]["sections"]] == [11, 16]
    assert report["left_out"]["looked_at"] == "8-39"
    assert json.loads(json.dumps(report)) == report


def test_damage_that_divides_a_volume_too_finely_is_closed_up(monkeypatch, tmp_path):
    recipe_of = methods_train.recipe_of

    def of_stacks(spec, objective, only):
        def make(data, *started):
            if max(len(block) for block in data.blocks) < 30:
                raise InputError("training needs a block of at least 30 sections")
            return recipe_of(spec, objective, only)(data, *started)

        return make

    monkeypatch.setattr(methods_train, "recipe_of", of_stacks)
    data, notes = lessons(monkeypatch, tmp_path, METHOD, planted())
    assert [len(block) for block in (*data.blocks, *data.held_out)] == [31, 6]
    assert any("those around them count as neighbours" in line for line in notes)
    with pytest.raises(InputError, match="at least 30 sections"):
        train(METHOD, planted(30), tmp_path / "w.safetensors", steps=1)


def test_an_intact_volume_that_is_too_small_is_refused_as_ever(tmp_path):
    with pytest.raises(InputError, match="at least 58 x 58 x 58 voxels"):
        train("align/jain2017", planted(40, {}), tmp_path / "w.safetensors", steps=1)
