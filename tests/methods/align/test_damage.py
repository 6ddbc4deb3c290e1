"""Damaged sections: nothing is matched with them, measured on them, or tested on them."""

import json

import numpy as np
import pytest

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import PairField
from napari_emsynth.methods.align.scoring.evaluate import evaluate
from napari_emsynth.methods.align.scoring.jitter import distort, jitter
from napari_emsynth.methods.align.task import align
from napari_emsynth.spec import MethodSpec
from napari_emsynth.testing.damage import plant
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import redrawing
from napari_emsynth.volume import Volume

PLAN = {3: "blurred", 8: "blank", 9: "displaced", 12: "saturated", 15: "half-missing"}
CLEAN = Phantom(shape=(19, 64, 64), noise=8.0, jitter=0.5).volume()
FLOW, SMOOTH = "optical-flow", "stand-in-smooth"


@pytest.fixture(autouse=True)
def stand_in(install):
    install(redrawing())


def planted(seed=1):
    return Volume.of(plant(CLEAN.data, PLAN, seed=seed)[0])


def test_the_self_check_does_not_depend_on_which_were_named():
    one, all_ = (align(planted(), method=FLOW, skip=skip).provenance for skip in ([8], sorted(PLAN)))
    assert one["selfcheck"] == all_["selfcheck"]
    assert [n for n in one["notices"] if "undo" in n] == [n for n in all_["notices"] if "undo" in n]


@pytest.mark.parametrize("method", [FLOW, SMOOTH])
def test_what_a_damaged_section_shows_does_not_count(method):
    checks = [align(planted(seed), method=method).provenance["selfcheck"] for seed in (1, 2)]
    assert checks[0] == checks[1]
    intact = Volume.of(CLEAN.data[[z for z in range(19) if z not in PLAN]])
    assert checks[0]["cpc_before"] == pytest.approx(
        align(intact, method=method, skip=() if method == FLOW else None).provenance["selfcheck"]["cpc_before"],
        abs=0.02,
    )


def test_one_line_and_the_record_say_what_was_left_out():
    record = json.loads(json.dumps(align(planted(), method=FLOW).provenance))
    assert {e["section"]: e["kind"] for e in record["left_out"]["sections"]} == PLAN
    (line,) = (line for line in record["notices"] if "look damaged" in line)
    assert "left out of the self-check" in line


def test_who_says_that_nothing_is_damaged_is_believed():
    record = align(planted(), method=FLOW, skip=[]).provenance
    assert record["left_out"]["sections"] == []
    assert not any(s["skipped"] for s in record["sections"])


def test_a_false_alarm_leaves_nothing_out():
    data = CLEAN.data.copy()
    data[7:] = 0
    record = align(Volume.of(data), method=FLOW).provenance
    assert not any(s["skipped"] for s in record["sections"])
    assert any("12 of 19 sections look damaged: that is more than half" in line for line in record["notices"])


@pytest.mark.parametrize("method", [FLOW, SMOOTH])
def test_evaluation_does_not_move_damaged_sections(method):
    one, other = (evaluate(planted(seed), method=method, limit=8) for seed in (1, 2))
    assert one["sections"] == other["sections"]
    assert set(one["sections"]).isdisjoint(PLAN)
    assert len(one["sections"]) == 8
    for told in ("scores", "cpc", "beats_floors", "instead", "advice"):
        assert one[told] == other[told]
    assert {e["section"] for e in one["left_out"]["sections"]} == set(PLAN)


class Still:
    """Moves nothing."""

    how = "pairs"

    def __call__(self, moving, fixed, known, runtime):
        return PairField(np.zeros((2, *moving.shape), np.float32), np.ones(moving.shape, np.float32))


def test_the_floor_that_wins_is_named_with_its_flag(install):
    install(
        MethodSpec(
            task="align", id="still", title="Still", summary="Moves nothing.", params=SolvedParams,
            build=lambda params, runtime, weights: Still(), keeps_acquired=False, answers="displacement",
        )
    )  # fmt: skip
    report = evaluate(CLEAN, method="still", limit=6)
    assert (report["beats_floors"], report["instead"]) == (False, "optical-flow")
    assert report["epe_px"]["optical_flow"] < report["epe_px"]["still"] == report["epe_px"]["jittered"]
    assert "--method optical-flow (in Python method='optical-flow')" in report["advice"]


def test_damaged_sections_are_passed_over_and_the_rest_closes_up():
    for known in (
        jitter(CLEAN, 1.0, 0, edge=32, depth=5, without=PLAN),
        distort(CLEAN, Distortion(shift_px=1.0), 0, edge=32, depth=5, without=PLAN),
    ):
        assert known.sections == (5, 6, 7, 10, 11)
        m = (64 - known.whole.shape[1]) // 2
        cut = slice(m, 64 - m)
        assert (known.whole == CLEAN.data[list(known.sections), cut, cut]).all()
