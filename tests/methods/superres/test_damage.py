"""Damaged sections: no truth of a check, not seen around one, and said."""

import json

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.scoring.evaluate import evaluate
from napari_emsynth.methods.superres.scoring.hidden import hide
from napari_emsynth.methods.superres.scoring.selfcheck import residual
from napari_emsynth.methods.superres.task import superresolve
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.damage import plant
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import SHARPENER
from napari_emsynth.volume import Volume

PLAN = {3: "blurred", 7: "blank", 8: "displaced", 11: "saturated", 13: "half-missing"}
CLEAN = Phantom(shape=(16, 136, 136), noise=8.0, cell_px=32.0).volume()


@pytest.fixture(autouse=True)
def stand_in(install):
    install(SHARPENER)


def planted(seed=1):
    return Volume.of(plant(CLEAN.data, PLAN, seed=seed)[0])


def request(volume, method):
    return Request.of("superres", volume, method, weights=None, params=None, runtime=Runtime(device="cpu"))


@pytest.mark.parametrize("method", [SHARPENER.id, "bicubic", "single-stage"])
def test_the_self_check_does_not_depend_on_which_were_named(method):
    # Of a lazy volume nothing is drawn but what is checked.
    volume = Volume.of(da.from_array(planted().data, chunks=(1, -1, -1)))
    one, all_ = (superresolve(volume, 8, method=method, damaged=damaged).provenance for damaged in ([7], sorted(PLAN)))
    assert one["selfcheck"] == all_["selfcheck"]
    advice = [[n for n in record["notices"] if "does not beat" in n] for record in (one, all_)]
    assert advice[0] == advice[1]


@pytest.mark.parametrize("method", [SHARPENER.id, "bicubic"])
def test_what_a_damaged_section_shows_does_not_count(method):
    records = [superresolve(planted(seed), 8, method=method).provenance for seed in (1, 2)]
    assert records[0]["selfcheck"] == records[1]["selfcheck"]
    assert records[0]["residual"] == records[1]["residual"]
    clean = superresolve(CLEAN, 8, method=method).provenance["selfcheck"]
    assert records[0]["selfcheck"]["psnr"] == pytest.approx(clean["psnr"], abs=0.7)


def test_one_line_and_the_record_say_what_was_left_out():
    record = json.loads(json.dumps(superresolve(planted(), 8, method=SHARPENER.id).provenance))
    assert {e["section"]: e["kind"] for e in record["left_out"]["sections"]} == PLAN
    assert record["damaged"] == [7, 8, 11, 13]  # blur does not mislead
    assert sum("look damaged" in line for line in record["notices"]) == 1


def test_who_says_that_nothing_is_damaged_is_believed():
    record = superresolve(planted(), 8, method=SHARPENER.id, damaged=()).provenance
    assert record["left_out"]["sections"] == []
    assert record["damaged"] == []


@pytest.mark.parametrize("method", [SHARPENER.id, "bicubic"])
def test_evaluation_does_not_score_them(method):
    one, other = (evaluate(planted(seed), method=method, limit=5) for seed in (1, 2))
    assert set(one["sections"]).isdisjoint(PLAN)
    for told in ("sections", "scores", "coverage90", "beats_floors", "instead", "advice"):
        assert one[told] == other[told]
    assert {e["section"] for e in one["left_out"]["sections"]} == set(PLAN)


def test_an_intact_volume_is_hidden_where_it_always_was():
    hidden = hide(request(CLEAN, SHARPENER.id), 8, edge=16, count=3, least=8)
    assert [hidden.first + z for z in hidden.sections] == [6, 7, 8]
    assert hidden.damaged == frozenset()


def test_damaged_sections_around_what_is_hidden_are_not_seen():
    hidden = hide(request(CLEAN, SHARPENER.id), 8, edge=16, count=3, least=8, damaged={7, 8})
    assert [hidden.first + z for z in hidden.sections] == [5, 6, 9]
    assert hidden.job(request(CLEAN, SHARPENER.id)).damaged == {7 - hidden.first, 8 - hidden.first}
    assert hide(request(CLEAN, SHARPENER.id), 8, edge=16, count=3, least=8, damaged=range(16)) is None


def test_the_residual_is_measured_on_an_intact_section():
    volume = planted()
    spoiled = Volume.of(volume.data.copy())
    spoiled.data[7] = np.random.default_rng(0).integers(0, 255, spoiled.shape[1:])
    jobs = [Job.of(request(v, "bicubic"), 8, [7]) for v in (volume, spoiled)]
    assert residual(jobs[0], [7]) == residual(jobs[1], [7])
