"""Damaged sections that nobody named: not measured on, and said."""

import json
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.methods.blocks import statistics
from napari_emsynth.methods.upsample.scoring.evaluate import evaluate
from napari_emsynth.methods.upsample.scoring.hidden import hide, hide_in_plane
from napari_emsynth.methods.upsample.task import upsample
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.damage import plant
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.volume import Volume

PLAN = {4: "blurred", 9: "blank", 13: "displaced", 17: "half-missing", 20: "saturated"}
VOXEL_NM = (20.0, 10.0, 10.0)
CLEAN = Phantom(shape=(25, 80, 72), noise=8.0, voxel_nm=VOXEL_NM).volume()


def planted(seed=1, plan=PLAN):
    return Volume.of(plant(CLEAN.data, plan, seed=seed)[0], voxel_nm=VOXEL_NM)


def lazy(volume):
    """The same volume read section by section: nothing of the result is drawn but what is checked."""
    return replace(volume, data=da.from_array(volume.data, chunks=(1, -1, -1)))


def measured(record):
    """What a record says that was measured on the volume."""
    advice = [line for line in record["notices"] if "does not beat" in line or "hardly beats" in line]
    return {key: record[key] for key in ("selfcheck", "calibration", "departure")} | {"advice": advice}


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("method", ["emsynth", "linear"])
def test_what_is_measured_does_not_depend_on_which_were_named(method, sampling):
    one, all_ = (
        upsample(lazy(planted()), 2, sampling=sampling, method=method, damaged=damaged).provenance
        for damaged in ([9], sorted(PLAN))
    )
    assert measured(one) == measured(all_)
    assert one["selfcheck"]["n"] > 0


def test_what_a_damaged_section_shows_does_not_count():
    one, other = (upsample(lazy(planted(seed)), 2, method="emsynth", damaged=[9]).provenance for seed in (1, 2))
    assert measured(one) == measured(other)


def test_one_line_and_the_record_say_what_was_left_out():
    record = json.loads(json.dumps(upsample(planted(), 2, method="linear").provenance))
    assert [r["section"] for r in record["repaired"]] == [9]
    assert {e["section"]: e["kind"] for e in record["left_out"]["sections"]} == {
        z: kind for z, kind in PLAN.items() if z != 9
    }
    (line,) = (line for line in record["notices"] if "look damaged" in line)
    assert "4 (blurred), 13 (displaced)" in line


def test_who_says_that_nothing_is_damaged_is_believed():
    record = upsample(planted(), 2, method="linear", damaged=()).provenance
    assert record["left_out"]["sections"] == []
    assert record["repaired"] == []


def test_a_repair_does_not_look_at_what_else_is_damaged():
    volume = planted(plan={9: "blank", 10: "saturated"})
    (repaired,) = upsample(volume, 2, method="linear", damaged=[9]).provenance["repaired"]
    assert (repaired["below"], repaired["above"]) == (8, 11)


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("method", ["emsynth", "linear"])
def test_evaluation_does_not_count_them(method, sampling):
    one, other = (evaluate(planted(seed), method=method, sampling=sampling) for seed in (1, 2))
    for told in ("scores", "coverage90", "beats_floors", "instead", "advice", "left_out"):
        assert one[told] == other[told]
    assert {e["section"] for e in one["left_out"]["sections"]} == set(PLAN)
    assert set(one["sections"]).isdisjoint(PLAN)


@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_evaluation_scores_what_it_would_without_damage(sampling):
    damaged, clean = (
        evaluate(volume, method="linear", sampling=sampling)["scores"]["linear"]["psnr"]
        for volume in (planted(plan={5: "blank", 14: "displaced"}), CLEAN)
    )
    assert damaged == pytest.approx(clean, abs=0.5)


def test_what_lies_next_to_a_repaired_section_counts_only_where_nothing_else_does():
    hidden = hide(CLEAN, 2, "point", edge=64, depth=13, unfit=[8, 11])
    assert hidden.first == 6
    # 8 is kept, as a neighbour of 7 and 9; 11 is hidden.
    assert [hidden.first + j for j in hidden.sections] == [13, 15, 17]
    alone = hide(CLEAN, 2, "point", edge=64, depth=5, unfit=[12])
    assert [alone.first + j for j in alone.sections] == [11, 13]


def test_a_slab_with_a_repaired_section_does_not_count():
    hidden = hide(CLEAN, 4, "slab", edge=64, depth=24, unfit=[5])
    # Section 5 is in the slab of 4 to 7; 8 and 9 lie between that slab and the next.
    assert [hidden.first + j for j in hidden.sections] == list(range(10, 24))


def test_rows_of_damaged_sections_are_not_posed_as_sections():
    hidden = hide_in_plane(CLEAN, 2, "point", edge=64, planes=5, unfit=[6, 12])
    rows = hidden.truth.shape[0]
    found = [
        z for z in range(25) if any((CLEAN.data[z, 8 : 8 + rows, 4:68] == p).all() for p in hidden.truth.swapaxes(0, 1))
    ]
    assert found == [0, 5, 11, 18, 24]
    assert hide_in_plane(CLEAN, 2, "point", edge=64, unfit=range(25)) is None


@pytest.mark.parametrize("kind", ["blank", "saturated", "half-missing"])
def test_the_statistics_of_a_volume_are_those_of_its_intact_sections(kind):
    count = 16
    clean = Phantom(shape=(count, 64, 64), noise=8.0).volume()
    damaged = Volume.of(plant(clean.data, {5: kind, 11: kind}, seed=1)[0])
    found, wanted = statistics(damaged), statistics(clean)
    rest = [z for z in range(count) if z not in (5, 11)]
    exact = statistics(Volume.of(clean.data[rest]))
    if kind == "half-missing":  # what is left of it has a say
        assert (found.mean, found.std) == pytest.approx((exact.mean, exact.std), rel=2e-3)
    else:
        assert (found.mean, found.std) == (exact.mean, exact.std)
    assert found.mean == pytest.approx(wanted.mean, abs=0.02 * wanted.std)


def test_brightness_that_jumps_is_not_taken_for_damage():
    rng = np.random.default_rng(0)
    data = Phantom(shape=(16, 64, 64), noise=8.0).volume().data.astype(np.float32)
    data = data * rng.uniform(0.6, 1.4, (16, 1, 1)).astype(np.float32)
    sections = [statistics(Volume.of(data[z : z + 1])) for z in range(16)]
    assert statistics(Volume.of(data)).mean == pytest.approx(np.mean([s.mean for s in sections]))


def test_what_looks_damaged_anywhere_is_named_and_stays():
    """Far from all that is measured: named, so that the user can have it repaired."""
    data, _ = plant(Phantom(shape=(120, 64, 64), noise=8.0).volume().data, {5: "displaced"}, seed=1)
    made = upsample(data, 2, method="linear")
    assert any("5 (displaced)" in line and "name them as damaged" in line for line in made.provenance["notices"])
    np.testing.assert_array_equal(made.volume.data[10], data[5])


def test_an_unknown_voxel_size_that_changes_the_answer_is_said_at_the_start():
    said = []
    known = upsample(lazy(CLEAN), 2, method="emsynth", runtime=Runtime(note=said.append))
    assert known.provenance["departure"] is not None
    assert not any("voxel size is unknown" in line for line in said)
    unknown = upsample(lazy(CLEAN).data, 2, method="emsynth", runtime=Runtime(note=said.append))
    assert "give --voxel-size z,y,x in nm" in said[0]
    assert said[0] in unknown.provenance["notices"]
