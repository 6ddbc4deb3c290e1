"""The self-test of alignment: what is known to be right, nothing, wrong or folded is told apart."""

import json

import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import PairField
from napari_emsynth.methods.align.scoring.selftest import known_warp, self_test
from napari_emsynth.methods.request import Request, _built
from napari_emsynth.metrics.registration import folds, mean_magnitude
from napari_emsynth.spec import CancelToken, MethodSpec, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import redrawing
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(8, 96, 112), drift=0.3).volume()


class Scripted:
    """Answers the four questions of every pair in turn: the known warp, no warp, neighbours, warped neighbours."""

    how = "pairs"

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def __call__(self, moving, fixed, known, runtime):
        u = self.answers[len(self.asked) % 4]
        self.asked.append((moving, fixed))
        return PairField(np.asarray(u, np.float32), np.ones(moving.shape, np.float32))


def request(install, answers=None, *, volume=STACK, method=None, **runtime):
    scripted = Scripted(answers)
    _built.cache_clear()
    install(
        MethodSpec(
            task="align", id="scripted", title="Scripted", summary="Knows the answers.", params=SolvedParams,
            build=lambda params, runtime, weights: scripted, keeps_acquired=False, answers="displacement",
        )
    )  # fmt: skip
    asked = Request.of("align", volume, method or "scripted", weights=None, params=None, runtime=Runtime(**runtime))
    return asked, scripted


def first_warp(shape=(96, 112), seed=0):
    return known_warp(np.random.default_rng(seed), shape)


def none(shape=(96, 112)):
    return np.zeros((2, *shape))


def test_the_known_warp_is_smooth_and_has_the_length_it_should():
    g = known_warp(np.random.default_rng(0), (256, 300))
    assert folds(g) == 0
    assert mean_magnitude(g) == pytest.approx(3, rel=1e-3)
    assert mean_magnitude(first_warp((64, 64))) == pytest.approx(1, rel=1e-3)


def test_who_knows_the_answers_has_no_faults(install):
    g = first_warp()
    asked, scripted = request(install, [g, none(), none(), g])
    found = self_test(asked, pairs=1)
    assert (found.epe_px, found.eqe_px, found.folds, found.harm_px) == pytest.approx((0, 0, 0, 0), abs=1e-6)
    assert found.fit
    assert found.verdict.startswith("Fit for this volume: scripted finds a known warp of 1.5 px to 0.00 px")
    # What is asked: two views of one section, then its neighbour, plain and warped.
    assert len(scripted.asked) == 4
    assert (scripted.asked[2][0] == scripted.asked[3][0]).all()
    assert (scripted.asked[0][0] != scripted.asked[1][0]).any()


def test_who_does_nothing_misses_by_the_warp_and_does_no_harm(install):
    asked, _ = request(install, [none()] * 4)
    found = self_test(asked, pairs=2)
    assert len(found.pairs) == 2
    assert found.warp_px > 1
    assert found.epe_px == pytest.approx(found.warp_px)
    assert found.eqe_px == pytest.approx(found.warp_px)
    assert (found.harm_px, found.folds) == (0, 0)
    assert found.cpc_after == pytest.approx(found.cpc_before)
    assert "misses a known warp" in found.verdict
    assert "follows it on real neighbours only to" in found.verdict


def test_who_folds_or_moves_what_lies_right_is_told_so(install):
    g = first_warp()
    mirrored = np.stack((none()[0], 111 - 2 * np.arange(112) + none()[0]))
    asked, _ = request(install, [g, none() + 1.0, none(), g])
    assert self_test(asked, pairs=1).faults == ("moves a section that lies right by 1.41 px",)
    asked, _ = request(install, [g, none(), mirrored, g])
    found = self_test(asked, pairs=1)
    assert found.folds == pytest.approx(0.25)
    assert any(fault == "folds 25 % of the pixels" for fault in found.faults)


def test_optical_flow_finds_most_of_the_warp_and_the_seed_decides(install):
    asked, _ = request(install, method="optical-flow", seed=3)
    found = self_test(asked, pairs=1)
    assert found.epe_px < 0.5 * found.warp_px
    again = self_test(asked, pairs=1)
    assert (again.epe_px, again.eqe_px) == (found.epe_px, found.eqe_px)
    document = found.to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["verdict"] == found.verdict
    assert document["pairs"] == [list(p) for p in found.pairs]


def test_damaged_equal_and_skipped_sections_are_left_out(install):
    data = STACK.data.copy()
    data[2], data[5] = 0, data[4]
    asked, _ = request(install, [none()] * 12, volume=Volume.of(data))
    found = self_test(asked, skip=[7], pairs=8)
    assert sorted(found.pairs) == [(1, 0), (4, 3)]
    assert {e["section"]: e["kind"] for e in found.to_json()["left_out"]["sections"]} == {2: "blank", 5: "duplicate"}
    # Who says that nothing is damaged is believed; only what shows no tissue cannot be asked about.
    assert (6, 5) in self_test(asked, skip=[], pairs=8).pairs


def test_only_the_middle_is_looked_at_and_time_is_kept(install):
    asked, scripted = request(install, [np.zeros((2, 48, 48))] * 4)
    found = self_test(asked, pairs=3, edge=48, budget_s=0)
    assert found.edge_px == (48, 48)
    assert len(found.pairs) == 1
    assert scripted.asked[0][0].shape == (48, 48)


def test_it_reports_progress_and_is_cancelled_between_answers(install):
    said, token = [], CancelToken()
    asked, scripted = request(install, [none()] * 4, progress=lambda *told: said.append(told), cancel=token)
    self_test(asked, pairs=2)
    assert said == [(0, 8, "self-test"), (4, 8, "self-test"), (8, 8, "self-test")]
    token.cancel()
    with pytest.raises(Cancelled):
        self_test(asked)
    assert len(scripted.asked) == 8


def test_what_cannot_be_tested_is_refused_in_one_line(install):
    install(redrawing())
    redraws = Request.of("align", STACK, "stand-in-smooth", weights=None, params=None, runtime=Runtime())
    with pytest.raises(InputError, match="align/stand-in-smooth redraws sections"):
        self_test(redraws)
    asked, _ = request(install, [none()] * 4, volume=Volume.of(STACK.data[:, :40]))
    with pytest.raises(InputError, match="40 x 112 px are too small for a self-test: the limit is 48 px"):
        self_test(asked)
    for volume in (Volume.of(np.zeros((4, 64, 64), np.uint8)), Volume.of(STACK.data[:1])):
        asked, _ = request(install, [none()] * 4, volume=volume)
        with pytest.raises(InputError, match="no two neighbouring sections show tissue"):
            self_test(asked)
