"""A request: checked when it is made, the same in another process."""

import pickle

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.request import Request, scale_notices
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

STACK = np.zeros((3, 8, 8), np.uint8)


def asked(task="interpolate", method="emsynth", **options):
    given = {"weights": None, "params": None, "voxel_nm": None, "runtime": Runtime(), **options}
    volume = Volume.of(STACK, voxel_nm=given.pop("voxel_nm"))
    return Request.of(task, volume, method, **given)


def test_what_is_left_out_takes_the_methods_default():
    request = asked()
    assert request.weights == "accurate"
    assert request.params == request.spec.params()
    assert asked(method="linear").weights is None


def test_parameters_come_as_a_mapping_or_as_they_are():
    request = asked(method="optical-flow", params={"radius": 9})
    assert request.params.radius == 9
    assert asked(method="optical-flow", params=request.params).params is request.params


def test_it_travels_without_what_belongs_to_this_process():
    runtime = Runtime(seed=4, progress=lambda *told: None, note=lambda line: None)
    request = pickle.loads(pickle.dumps(asked(runtime=runtime)))
    assert request.runtime.seed == 4
    assert (request.weights, request.method) == ("accurate", "emsynth")


def test_a_method_is_built_once_for_equal_requests():
    assert asked(method="linear").built() is asked(method="linear").built()


def test_weights_that_were_trained_further_are_loaded_again(tmp_path):
    from napari_emsynth.weights.store import load, write

    tensors, card = load("interpolate/emsynth", "accurate")
    path = tmp_path / "mine.safetensors"
    methods = []
    for share in (1.0, 0.5):
        write(path, path.with_suffix(".toml"), {k: share * v for k, v in tensors.items()}, card)
        methods.append(asked(weights=str(path)).built())
    one, other = (next(method.network.parameters()).detach() for method in methods)
    assert float((one - 2 * other).abs().max()) == pytest.approx(0, abs=1e-6)


def test_what_the_engine_says_is_kept_and_passed_on():
    told, kept = [], []
    asked(runtime=Runtime(note=told.append)).heard(kept).runtime.note("smaller tiles")
    assert told == kept == ["smaller tiles"]


def test_voxels_outside_the_range_of_the_weights_are_warned_of():
    def notices(**options):
        request = asked(**options)
        return scale_notices(request.spec, request.weights, request.volume)

    assert notices(voxel_nm=(30, 10, 10)) == []
    assert "900 nm along y" in notices(voxel_nm=(30, 900, 900))[0]
    assert notices(method="linear", voxel_nm=(30, 900, 900)) == []


def test_the_record_names_the_weights_by_their_sum():
    record = asked(voxel_nm=(30, 10, 10)).record()
    assert len(record["weights"]["sha256"]) == 64
    source = record["source"].to_json()
    assert (source["shape"], source["dtype"], source["voxel_nm"]) == ([3, 8, 8], "uint8", [30, 10, 10])
    assert asked(method="linear").record()["weights"] is None


def test_another_volume_is_asked_for_quietly():
    seen = []
    request = asked(runtime=Runtime(progress=lambda *told: seen.append(told)))
    other = request.on(Volume.of(np.ones((2, 4, 4))))
    other.runtime.progress(1, 2, "x")
    assert seen == []
    assert other.volume.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "'magic'"),
        ({"method": "linear", "weights": "x"}, "no weights to choose"),
        ({"params": {"radius": 3}}, "unknown parameter 'radius'"),
        ({"voxel_nm": (0, 1, 1)}, "0 nm along z"),
    ],
)
def test_bad_requests(options, words):
    with pytest.raises(InputError, match=words):
        asked(**options)
