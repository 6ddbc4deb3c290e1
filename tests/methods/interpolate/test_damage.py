"""Damaged sections that nobody named: never a truth, never a neighbour where others are near, and said."""

import json

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.metrics.image import psnr
from napari_emsynth.samples import damaged, planted, truth
from napari_emsynth.testing.damage import plant
from napari_emsynth.testing.phantoms import Phantom

PLAN = {4: "blurred", 9: "blank", 10: "blank", 14: "displaced", 19: "half-missing", 22: "saturated"}


@pytest.fixture(scope="module")
def stack():
    return plant(Phantom(shape=(27, 96, 96), noise=8.0).volume().data, PLAN, seed=1)[0]


def check_of(result, section):
    return next(s["selfcheck"] for s in result.provenance["sections"] if s["section"] == section)


def advice_of(result):
    return [line for line in result.provenance["notices"] if "does not beat" in line]


@pytest.mark.parametrize("method", ["emsynth", "linear", "optical-flow"])
@pytest.mark.parametrize("section", [9, 12, 14])
def test_the_self_check_does_not_depend_on_which_were_named(stack, method, section):
    run = sorted({section} | ({9, 10} if section in (9, 10) else set()))
    alone = interpolate(stack, run, method=method)
    together = interpolate(stack, sorted({*PLAN, *run}), method=method)
    assert check_of(alone, section) == check_of(together, section)
    # What is drawn, and how sure it is, follows.
    np.testing.assert_array_equal(alone.volume.data[section], together.volume.data[section])
    np.testing.assert_array_equal(alone.uncertainty.data[section], together.uncertainty.data[section])


def test_no_advice_comes_from_damaged_sections(stack):
    alone, together = (interpolate(stack, sections) for sections in ([14], sorted(PLAN)))
    assert advice_of(alone) == []
    assert not any("near section 14" in line for line in advice_of(together))


def test_one_line_and_the_record_say_what_was_left_out(stack):
    record = json.loads(json.dumps(interpolate(stack, [14], method="linear").provenance))
    others = {z: kind for z, kind in PLAN.items() if z != 14}
    assert {e["section"]: e["kind"] for e in record["left_out"]["sections"]} == others
    assert record["left_out"]["looked_at"] == "0-26"
    lines = [line for line in record["notices"] if "look damaged" in line]
    assert len(lines) == 1
    assert "9-10 (blank)" in lines[0]
    assert "14" not in lines[0]


def test_what_is_damaged_does_not_serve_as_a_neighbour(stack):
    sections = {s["section"]: s for s in interpolate(stack, [8, 13], method="linear").provenance["sections"]}
    assert (sections[8]["below"], sections[8]["above"]) == (7, 11)
    assert (sections[13]["below"], sections[13]["above"]) == (12, 15)


def test_a_damaged_neighbour_that_has_to_serve_is_named():
    data = Phantom(shape=(12, 96, 96), noise=8.0).volume().data
    stack = plant(data, {0: "blurred"}, seed=1)[0]
    result = interpolate(stack, [1], method="linear")
    assert result.provenance["sections"][0]["below"] == 0
    assert any("section 0 serves, which looks blurred" in line for line in result.provenance["notices"])


def test_lazy_and_eager_leave_out_the_same(stack):
    eager, lazy = (interpolate(v, [14], method="linear") for v in (stack, da.from_array(stack, chunks=(1, 96, 96))))
    assert lazy.provenance["left_out"] == eager.provenance["left_out"]
    np.testing.assert_array_equal(lazy.volume.data[14].compute(), eager.volume.data[14])


def test_an_insertion_looks_around_too(stack):
    record = interpolate(stack, [10], insert=True, method="linear").provenance
    assert (record["sections"][0]["below"], record["sections"][0]["above"]) == (8, 11)


def test_the_sample_is_repaired_as_well_with_one_section_named_as_with_all():
    whole = {p.section for p in planted()}
    alone, together = (interpolate(damaged(), sections) for sections in ([38], sorted({38, *whole})))
    assert check_of(alone, 38) == check_of(together, 38)
    assert check_of(alone, 38)["beats_floors"]
    scores = [psnr(r.volume.data[38], truth().data[38]) for r in (alone, together)]
    assert scores[0] == scores[1]
    # The interval holds nine errors in ten, and is no wider than that takes.
    error = np.abs(alone.volume.data[38].astype(float) - truth().data[38])
    assert 0.85 <= (error <= alone.uncertainty.data[38]).mean() <= 0.95


@pytest.mark.parametrize("method", ["emsynth", "linear"])
def test_evaluation_hides_intact_sections_between_intact_ones(stack, method):
    found = evaluate(stack, method=method, flow_floor=False)
    used = {z for k in found["sections"] for z in (k - 1, k, k + 1)}
    assert used.isdisjoint(PLAN)
    assert {e["section"] for e in found["left_out"]["sections"]} == set(PLAN)
    clean = Phantom(shape=(27, 96, 96), noise=8.0).volume().data
    same = evaluate(clean, method=method, flow_floor=False, sections=found["sections"])
    # What is made of two sections is the same; filters are fitted where there is less intact around.
    for baseline in ("nearest", "linear", "blurred_linear"):
        assert found["scores"][baseline] == same["scores"][baseline]
    for name in ("fitted", method):
        assert found["scores"][name]["psnr"] == pytest.approx(same["scores"][name]["psnr"], abs=0.5)
    assert found["coverage90"] == pytest.approx(same["coverage90"], abs=0.02)


def test_sections_that_are_named_are_hidden_whatever_they_look_like(stack):
    assert evaluate(stack, method="linear", sections=[9, 12], flow_floor=False)["sections"] == [9, 12]


def test_an_intact_stack_is_evaluated_where_it_always_was():
    clean = Phantom(shape=(27, 96, 96), noise=8.0).volume().data
    found = evaluate(clean, method="linear", gap=2, limit=6, flow_floor=False)
    assert found["sections"] == [2, 6, 11, 15, 20, 24]
    assert found["left_out"]["sections"] == []


def test_a_stack_without_a_place_to_hide_one_is_refused():
    data = Phantom(shape=(9, 96, 96), noise=8.0).volume().data.copy()
    data[[1, 4, 7]] = 0
    with pytest.raises(InputError, match=r"no section lies between two intact ones 2 sections away: 1,4,7 \(blank\)"):
        evaluate(data, method="linear", gap=2)
