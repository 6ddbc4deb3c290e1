"""The task as a user meets it: what changes, what does not, what is said, what is refused."""

import json

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.metrics.image import coverage
from napari_emsynth.samples import damaged, truth
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume

METHOD = "linear"


def stack(z=14, edge=40, dtype=np.uint8):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:edge, :edge]
    waves = [np.sin((x + 0.7 * k) / 3.0) * 50 + np.cos((y - 0.5 * k) / 4.0) * 40 + 120 for k in range(z)]
    return (np.stack(waves) + rng.normal(0, 4, (z, edge, edge))).astype(dtype)


def restore(volume, sections=None, **options):
    return interpolate(volume, sections, method=METHOD, **options)


def test_only_marked_sections_change_and_are_marked_synthetic():
    volume = stack()
    before = volume.copy()
    result = restore(volume, [3, 7])
    np.testing.assert_array_equal(volume, before)
    others = [z for z in range(14) if z not in (3, 7)]
    np.testing.assert_array_equal(result.volume.data[others], volume[others])
    assert result.synthetic.data[[3, 7]].all()
    assert not result.synthetic.data[others].any()
    assert (result.uncertainty.data[[3, 7]] > 0).all()
    assert not result.uncertainty.data[others].any()


def test_only_masked_voxels_change():
    volume, mask = stack(), np.zeros((14, 40, 40), np.uint8)
    mask[5, 10:20, 12:30] = 1
    mask[9, 3:5, 3:5] = 200
    result = restore(volume, mask=mask)
    np.testing.assert_array_equal(result.volume.data[mask == 0], volume[mask == 0])
    np.testing.assert_array_equal(result.synthetic.data > 0, mask > 0)
    assert (result.volume.data[5, 10:20, 12:30] != volume[5, 10:20, 12:30]).any()
    assert {s["treatment"] for s in result.provenance["sections"]} == {"masked"}


def test_a_masked_repair_does_not_look_at_what_it_replaces():
    volume, mask = stack(), np.zeros((14, 40, 40), np.uint8)
    mask[5, 10:20, 12:30] = 1
    spoiled = volume.copy()
    spoiled[5, 10:20, 12:30] = 255
    a, b = (restore(v, mask=mask).volume.data for v in (volume, spoiled))
    np.testing.assert_array_equal(a, b)


def test_sections_and_mask_together_are_both_replaced():
    mask = np.zeros((14, 40, 40), np.uint8)
    mask[5, :9, :9] = 1
    result = restore(stack(), [8], mask=mask)
    assert {(s["section"], s["treatment"]) for s in result.provenance["sections"]} == {(5, "masked"), (8, "replaced")}


def test_inserted_sections_shift_the_rest():
    volume = stack()
    result = restore(Volume.of(volume, voxel_nm=(30, 4, 4)), [3, 3, 9], insert=True)
    assert result.volume.shape == (17, 40, 40)
    assert result.volume.grid.voxel_nm == (30, 4, 4)
    acquired = [k for k in range(17) if not result.synthetic.data[k].any()]
    np.testing.assert_array_equal(result.volume.data[acquired], volume)
    assert [k for k in range(17) if k not in acquired] == [3, 4, 11]


@pytest.mark.parametrize("insert", [False, True])
def test_lazy_equals_eager_and_reads_only_what_is_asked(insert):
    volume = stack()
    eager = restore(volume, [3, 4, 9], insert=insert)
    lazy = restore(da.from_array(volume, chunks=(2, 16, 16)), [3, 4, 9], insert=insert)
    for name in ("volume", "synthetic", "uncertainty"):
        arrays = getattr(eager, name).data, getattr(lazy, name).data
        assert isinstance(arrays[1], da.Array)
        assert arrays[1].dtype == arrays[0].dtype
        np.testing.assert_allclose(arrays[1].compute(scheduler="synchronous"), arrays[0], atol=1e-5)


def test_first_and_last_section_say_how_they_were_treated():
    result = restore(stack(), [0, 13])
    assert [s["note"] for s in result.provenance["sections"]] == ["extrapolated from one side"] * 2
    assert sum("one side only" in n for n in result.provenance["notices"]) == 2


def test_uncertainty_covers_the_truth():
    result = interpolate(damaged(), [p.section for p in _whole()], method=METHOD)
    z = _whole()[0].section
    share = coverage(truth().section(z), result.volume.data[z], result.uncertainty.data[z])
    assert 0.8 < share < 0.97


def _whole():
    from napari_emsynth.samples import planted

    return [p for p in planted() if p.kind in ("blank", "saturated")][:1]


def test_provenance_is_json_and_holds_the_self_check():
    result = restore(Volume.of(stack(), name="a stack"), [5])
    record = json.loads(json.dumps(result.provenance))
    assert record == result.provenance
    check = record["sections"][0]["selfcheck"]
    assert check["n"] == 2
    assert check["psnr"] == pytest.approx(check["linear"])
    assert record["source"]["name"] == "a stack"


def test_the_self_check_can_be_left_out():
    result = restore(stack(), [5], selfcheck=False)
    assert result.provenance["sections"][0]["selfcheck"] is None


def test_a_method_that_loses_to_a_floor_is_reported():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.integers(0, 255, (1, 64, 64)), 12, axis=0).astype(np.int16) + rng.integers(
        -20, 20, (12, 64, 64)
    )
    result = interpolate(noise.astype(np.int16), [5], method="optical-flow")
    check = result.provenance["sections"][0]["selfcheck"]
    assert not check["beats_floors"]
    assert check["instead"] == "fitted"
    assert check["fitted"] > check["linear"]
    assert any(
        "does not beat fitted" in n and "--method fitted (in Python method='fitted')" in n
        for n in result.provenance["notices"]
    )


def test_blank_sections_do_not_serve_as_neighbours():
    volume = stack()
    volume[6] = 0
    result = restore(volume, [5])
    assert result.provenance["sections"][0]["above"] == 7
    assert any("section(s) 6 (blank) look damaged" in n for n in result.provenance["notices"])


def test_sections_without_a_finite_value_do_not_serve_as_neighbours():
    volume = stack(dtype=np.float32)
    volume[6] = np.nan
    result = restore(volume, [5])
    assert result.provenance["sections"][0]["above"] == 7
    assert np.isfinite(result.volume.data[5]).all()


def test_a_stack_without_any_finite_value_is_refused():
    with pytest.raises(InputError, match="at least 1 intact section"):
        restore(np.full((5, 20, 20), np.nan, np.float32), [2])


def test_a_constant_stack_stays_constant():
    result = restore(np.full((7, 20, 20), 93, np.uint8), [3])
    assert (result.volume.data == 93).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sections": [14]}, "section 14 is outside the stack"),
        ({"sections": range(14)}, "all 14 sections are marked"),
        ({"mask": np.zeros((14, 40, 41), np.uint8)}, r"mask's shape \(14, 40, 41\)"),
        ({"mask": np.zeros((14, 40, 40), np.uint8)}, "nothing is marked"),
        (
            {"sections": [3], "insert": True, "mask": np.zeros((14, 40, 40))},
            "cannot be used when sections are inserted",
        ),
        ({"sections": [3], "weights": "x"}, "has no weights to choose"),
        ({"sections": [3], "params": {"radius": 3}}, "unknown parameter 'radius'"),
        ({"sections": [3], "voxel_nm": (0, 1, 1)}, "0 nm along z"),
    ],
)
def test_bad_use_is_one_clear_line(arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        restore(stack(), **arguments)
    assert "\n" not in str(caught.value)


def test_unknown_methods_name_the_known_ones():
    with pytest.raises(InputError, match="unknown interpolate method 'magic'; known: emsynth"):
        interpolate(stack(), [3], method="magic")


@pytest.mark.parametrize("shape", [(5, 40), (5, 40, 40, 3)])
def test_volumes_need_three_axes(shape):
    with pytest.raises(InputError, match="3 axes"):
        restore(np.zeros(shape, np.uint8), [2])


@pytest.mark.parametrize("stage", range(6))
def test_cancel_at_every_stage(stage):
    token, calls = CancelToken(), []

    def progress(done, total, message):
        calls.append(message)
        if len(calls) > stage:
            token.cancel()

    with pytest.raises(Cancelled):
        restore(stack(), [2, 5, 9], runtime=Runtime(progress=progress, cancel=token))
    assert len(calls) == stage + 1


def test_progress_reaches_its_total():
    seen = []
    restore(stack(), [2, 5], runtime=Runtime(progress=lambda done, total, what: seen.append((done, total, what))))
    assert seen[-1][0] == seen[-1][1]
    assert any("self-check" in what for _, _, what in seen)


def test_voxels_outside_the_range_of_the_weights_are_warned_of():
    volume = Volume.of(stack(edge=64), voxel_nm=(100, 100, 100))
    result = interpolate(volume, [5], method="emsynth", selfcheck=False)
    assert any("100 nm along y is outside" in n for n in result.provenance["notices"])


def test_runs_beyond_what_was_tested_are_said():
    stack = np.random.default_rng(0).integers(0, 255, (24, 32, 32)).astype("u1")
    seven, eight = (interpolate(stack, range(6, 6 + n), method="linear", selfcheck=False) for n in (7, 8))
    beyond = "further from acquired sections than a run of 7 lost ones"
    assert not any(beyond in line for line in seven.provenance["notices"])
    assert any(beyond in line for line in eight.provenance["notices"])
