"""Fine-tuning end to end, in seconds: files, resumption, refusals."""

import json

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.train import crop, train
from napari_emsynth.samples import truth
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume
from napari_emsynth.weights import store

METHOD = "interpolate/emsynth"


def volume():
    return Volume.of(
        truth().read(slice(0, 24), slice(0, 96), slice(0, 96)), voxel_nm=(10, 10, 10), name="crop"
    )


def test_training_writes_weights_that_load(tmp_path):
    out = tmp_path / "mine.safetensors"
    steps = []
    report = train(METHOD, volume(), out, steps=2, on_step=lambda t: steps.append(t["step"]))
    assert json.loads(json.dumps(report)) == report
    assert steps == [1, 2]
    assert report["finished"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.safetensors", "mine.toml"]
    _, card = store.load(METHOD, str(out))
    assert card.sha256 == report["weights"]["sha256"]
    assert card.data == "crop"
    assert card.steps == 2
    assert {"score", "psnr_1", "linear_1"} <= set(card.figures["validation"])


def test_a_cancelled_run_keeps_its_best_and_goes_on(tmp_path):
    out, token = tmp_path / "mine.safetensors", CancelToken()
    first = train(
        METHOD, volume(), out, steps=3, runtime=Runtime(cancel=token), on_step=lambda t: token.cancel()
    )
    assert not first["finished"]
    assert first["steps"] == 1
    assert (tmp_path / "mine.ckpt.safetensors").exists()
    second = train(METHOD, volume(), out, steps=3, resume=True)
    assert second["steps"] == 3
    assert not (tmp_path / "mine.ckpt.safetensors").exists()


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
        ({"name": "interpolate/linear"}, "nothing to train"),
        ({"name": "linear"}, "not of the form TASK/ID"),
    ],
)
def test_bad_requests_write_nothing(tmp_path, options, words):
    name, out = options.pop("name", METHOD), tmp_path / options.pop("out", "w.safetensors")
    with pytest.raises(InputError, match=words):
        train(name, volume(), out, **({"steps": 1} | options))
    assert list(tmp_path.iterdir()) == []
