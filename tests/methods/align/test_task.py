"""Alignment as a user meets it, with a stand-in for a network: what is made, checked, said, refused."""

import json

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.align.task import align
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import redrawing
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(7, 32, 40), jitter=1.0, voxel_nm=(40.0, 8.0, 8.0)).volume()
ID = "stand-in-smooth"


@pytest.fixture(autouse=True)
def stand_in(install):
    install(redrawing())


def far(block):
    return np.roll(block, 3, axis=2)


def test_a_redrawn_stack_on_the_same_grid_marked_throughout():
    before = STACK.data.copy()
    result = align(STACK, method=ID, selfcheck=False)
    assert (STACK.data == before).all()
    assert result.volume.grid == STACK.grid
    assert result.volume.dtype == STACK.dtype
    assert (result.synthetic.data == 1).all()
    assert result.displacement is None
    expected = STACK.data[2:5].astype(float).mean(axis=0)
    assert np.abs(result.volume.data[3] - expected).max() <= 0.51


def test_the_record_lists_every_section_and_says_that_all_was_redrawn():
    record = align(STACK, method=ID).provenance
    assert record["sections"] == [{"section": z, "treatment": "redrawn"} for z in range(7)]
    assert any("redraws every voxel" in n for n in record["notices"])
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_self_check_measures_correlation_and_a_known_jitter():
    check = align(STACK, method=ID).provenance["selfcheck"]
    scores = {"cpc_before", "cpc_after", "psnr_jittered", "psnr_aligned", "n"}
    assert set(check) == scores | {"beats_floors", "instead", "advice"}
    assert check["cpc_after"] > check["cpc_before"]
    assert check["beats_floors"] == (check["psnr_aligned"] >= check["psnr_jittered"])
    assert check["n"] == 7


def test_a_method_that_does_not_undo_a_jitter_is_reported(install):
    install(redrawing(far))
    result = align(STACK, method="stand-in-far")
    assert not result.provenance["selfcheck"]["beats_floors"]
    assert any("does not undo a known jitter" in n for n in result.provenance["notices"])


def test_small_sections_are_not_checked_and_it_is_said():
    result = align(STACK.data[:, :9], method=ID)
    assert result.provenance["selfcheck"] is None
    assert any("9 x 40 px are below 16 px" in n for n in result.provenance["notices"])


def test_parameters_reach_the_method():
    kept = align(STACK, method=ID, params={"strength": 0}, selfcheck=False)
    assert (kept.volume.data == STACK.data).all()
    assert kept.provenance["params"] == {"strength": 0}


def test_lazy_equals_eager():
    lazy = align(da.from_array(STACK.data, chunks=(3, 10, 40)), method=ID, selfcheck=False)
    assert isinstance(lazy.volume.data, da.Array)
    eager = align(STACK, method=ID, selfcheck=False)
    assert (lazy.volume.data.compute(scheduler="synchronous") == eager.volume.data).all()


def test_cancel_and_progress():
    token, seen = CancelToken(), []

    def progress(done, total, what):
        seen.append(what)
        if what == "self-check":
            token.cancel()

    with pytest.raises(Cancelled):
        align(STACK, method=ID, runtime=Runtime(progress=progress, cancel=token))
    assert list(dict.fromkeys(seen)) == ["looking for damage", "self-check"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "magic"}, "unknown align method 'magic'"),
        ({"weights": "x"}, "no weights to choose"),
        ({"params": {"strength": 2}}, "strength = 2.0 is above the limit of 1"),
        ({"voxel_nm": (0, 1, 1)}, "0 nm along z"),
    ],
)
def test_bad_use_is_one_clear_line(options, words):
    with pytest.raises(InputError, match=words):
        align(STACK, **({"method": ID} | options))


def test_two_sections_have_nothing_to_be_aligned_between():
    with pytest.raises(InputError, match="the limit is 3 sections"):
        align(Volume.of(STACK.data[:2]), method=ID)
