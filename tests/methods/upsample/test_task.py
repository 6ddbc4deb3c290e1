"""Upsampling as a user meets it: what is kept, what is made, what is said, what is refused."""

import json

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods import INDEX
from napari_emsynth.methods.upsample.task import default_method, upsample
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import DOUBLER
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(8, 24, 20), voxel_nm=(40.0, 8.0, 8.0)).volume()


def test_point_sampling_by_three_is_the_two_thirds_one_third_mixture():
    data = STACK.data
    result = upsample(STACK, 3, method="linear", selfcheck=False)
    assert result.volume.shape == (22, 24, 20)
    assert (result.volume.data[::3] == data).all()
    expected = (2 * data[4].astype(float) + data[5]) / 3
    assert np.abs(result.volume.data[13] - expected).max() <= 0.51
    assert result.volume.grid.voxel_nm == (40 / 3, 8, 8)
    assert result.synthetic.data[:, 0, 0].tolist() == [0, 1, 1] * 7 + [0]


def test_slab_sampling_divides_every_section_into_sections_whose_mean_it_is():
    result = upsample(STACK, 2, sampling="slab", method="linear", selfcheck=False)
    assert result.volume.shape == (16, 24, 20)
    pairs = result.volume.data.reshape(8, 2, 24, 20).astype(int)
    assert (pairs.sum(axis=1) == 2 * STACK.data.astype(int)).all()
    assert (pairs[:, 0] != pairs[:, 1]).mean() > 0.5
    assert result.volume.grid.origin_nm == (-10, 0, 0)
    assert (result.synthetic.data == 1).all()
    assert any("slab sampling divides every acquired section" in n for n in result.provenance["notices"])


def test_a_fractional_factor_keeps_the_sections_whose_place_is_whole():
    result = upsample(STACK, 2.5, method="linear", selfcheck=False)
    assert result.volume.shape[0] == 18
    assert (result.volume.data[::5] == STACK.data[::2]).all()
    assert result.synthetic.data[::5].max() == 0
    assert result.synthetic.data[1:5].min() == 1


def test_the_record_says_between_which_sections_each_was_made():
    record = upsample(STACK, 2, method="linear").provenance
    assert record["sections"][0] == {"section": 1, "treatment": "upsampled", "below": 0, "above": 1, "t": 0.5}
    assert len(record["sections"]) == 7
    assert (record["factor"], record["sampling"], record["task"]) == (2, "point", "upsample")
    assert json.loads(json.dumps(record)) == record


def test_the_self_check_hides_every_other_section():
    check = upsample(STACK, 2, method="linear").provenance["selfcheck"]
    same = check["linear"]
    kriging = check["kriging"]
    told = {"psnr": same, "linear": same, "kriging": kriging, "beats_floors": same >= kriging, "n": 3, "in_plane": None}
    assert check == told | {"instead": None, "advice": None}
    assert 15 < kriging < same, "tubes along z are no tissue: linear interpolation of them is all but right"
    assert 15 < check["psnr"] < 40


def test_a_method_that_loses_to_linear_is_reported(install):
    install(DOUBLER)
    result = upsample(STACK, 2, method=DOUBLER.id)
    check = result.provenance["selfcheck"]
    assert not check["beats_floors"]
    assert check["instead"] == "linear"
    assert any("does not beat linear" in n and "use --method linear" in n for n in result.provenance["notices"])


def test_a_method_that_redraws_says_so_in_mask_record_and_notice(install):
    install(DOUBLER)
    result = upsample(STACK, 2, method=DOUBLER.id, selfcheck=False)
    assert (result.synthetic.data == 1).all()
    assert (result.volume.data[::2] != STACK.data).any()
    treatments = [entry["treatment"] for entry in result.provenance["sections"]]
    assert treatments == ["redrawn", "upsampled"] * 7 + ["redrawn"]
    assert any("redraws acquired voxels" in n for n in result.provenance["notices"])


def test_too_few_sections_to_hide_any_is_said():
    result = upsample(STACK.data[:2], 2, method="linear")
    assert result.volume.shape[0] == 3
    assert result.provenance["selfcheck"] is None
    assert any("2 sections are too few" in n for n in result.provenance["notices"])


def test_lazy_and_big_endian_and_signed_sources():
    for dtype in (">i2", "u2"):
        data = Phantom(shape=(5, 16, 16), dtype=dtype).volume().data
        eager = upsample(data, 3, method="linear", selfcheck=False)
        lazy = upsample(da.from_array(data, chunks=(2, 9, 16)), 3, method="linear", selfcheck=False)
        assert isinstance(lazy.volume.data, da.Array)
        assert (lazy.volume.data.compute(scheduler="synchronous") == eager.volume.data).all()
        assert (lazy.synthetic.data.compute(scheduler="synchronous") == eager.synthetic.data).all()


def test_the_default_is_the_first_that_can(monkeypatch):
    monkeypatch.setitem(INDEX, "upsample", ("jain2017", "linear"))
    assert default_method(2, "point") == "jain2017"
    assert default_method(7.5, "point") == "linear"
    assert default_method(3, "slab") == "linear"
    assert upsample(STACK, 5, selfcheck=False).provenance["method"] == "linear"


def test_cancel_and_progress():
    token, seen = CancelToken(), []

    def progress(done, total, what):
        seen.append((done, total, what))
        if what == "upsampling":
            token.cancel()

    with pytest.raises(Cancelled):
        upsample(STACK, 2, method="linear", runtime=Runtime(progress=progress, cancel=token))
    assert list(dict.fromkeys(what for _, _, what in seen)) == ["looking for damage", "self-check", "upsampling"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": 0}, "factor 0 is outside 2 to 12"),
        ({"sampling": "both"}, "'both' is not one of point, slab"),
        ({"method": "magic"}, "unknown upsample method 'magic'"),
        ({"method": "linear", "weights": "x"}, "no weights to choose"),
        ({"method": "linear", "params": {"radius": 3}}, "unknown parameter 'radius'"),
        ({"voxel_nm": (0, 1, 1)}, "0 nm along z"),
    ],
)
def test_bad_use_is_one_clear_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        upsample(STACK, **options)
    assert "\n" not in str(caught.value)


def test_one_section_and_four_axes_are_refused():
    with pytest.raises(InputError, match="1 section has nothing to upsample"):
        upsample(STACK.data[:1])
    with pytest.raises(InputError, match="3 axes"):
        upsample(np.zeros((3, 4, 5, 6), np.uint8))


def test_an_unknown_voxel_size_stays_unknown():
    result = upsample(Volume.of(STACK.data), 2, sampling="slab", method="linear", selfcheck=False)
    assert result.volume.grid.voxel_nm is None


def test_isotropic_says_by_which_edge_where_pixels_are_no_squares():
    data = np.random.default_rng(0).integers(0, 255, (6, 40, 40)).astype("u1")
    oblong, square = (
        upsample(data, "isotropic", method="linear", voxel_nm=size, selfcheck=False)
        for size in ((40, 12, 8), (40, 10, 10))
    )
    assert oblong.volume.shape == square.volume.shape
    said = "pixels of 12 x 8 nm are no squares: isotropic goes by the mean of both edges, 10 nm"
    assert said in oblong.provenance["notices"]
    assert not any("no squares" in line for line in square.provenance["notices"])
