"""Posing held-out sections as missing while a network trains."""

import math

import numpy as np
import pytest

from napari_emsynth.methods.interpolate.scoring.held_out import GAPS, POSED, RUNS, Judge, held_out_cases, naturalness
from napari_emsynth.training.data import TrainingData

RNG = np.random.default_rng(0)
BLOCK = RNG.integers(0, 255, (19, 40, 50)).astype(np.uint8)
DATA = TrainingData(blocks=[BLOCK], held_out=[BLOCK])


def test_cases_are_crops_whose_sizes_a_network_with_strides_takes():
    cases = held_out_cases(BLOCK, BLOCK, POSED["2"])
    assert len(cases) == 5
    for case in cases:
        assert case.below.shape == case.truth.shape == case.above.shape == case.base.shape == (32, 48)
        assert case.known.shape == (4, 32, 48)
    assert cases[0].peak == pytest.approx(255 / BLOCK.std(), rel=0.1)
    lower_right = (BLOCK[4, -32:, -48:] - BLOCK.mean()) / BLOCK.std()
    np.testing.assert_allclose(cases[0].truth, lower_right, atol=0.2)


def test_a_block_too_short_for_a_gap_has_no_case():
    assert held_out_cases(BLOCK[:8], BLOCK, POSED["2"]) == []
    assert len(held_out_cases(BLOCK[:9], BLOCK, POSED["2"])) == 1


def test_the_truth_scores_best_and_linear_gains_nothing():
    judge = Judge(DATA)
    perfect = judge.scores(lambda case: case.truth)
    linear = judge.scores(lambda case: 0.5 * (case.below + case.above))
    assert perfect["mid_band"] == pytest.approx(1)
    assert perfect["score"] > 20
    assert linear["score"] == pytest.approx(0, abs=1e-3)
    assert linear["mid_band"] == pytest.approx(0.5, abs=0.1)  # the mean of two independent sections
    assert {f"{who}_{g}" for g in GAPS for who in ("psnr", "linear", "fitted")} <= set(linear)


def test_the_middle_of_a_run_lies_between_sections_next_to_each_other():
    assert RUNS == {"run_3": (-3, -2, 2, 3), "run_5": (-4, -3, 3, 4), "run_7": (-5, -4, 4, 5)}


def test_nothing_held_out_scores_nothing():
    assert Judge(TrainingData(blocks=[BLOCK], held_out=[])).scores(lambda case: case.truth)["score"] == 0


def test_thick_blocks_are_judged_beside_the_others():
    both = TrainingData(blocks=[BLOCK], held_out=[BLOCK], thick=[BLOCK], thick_held_out=[BLOCK])
    assert len(Judge(both).cases("1")) == 2 * len(Judge(DATA).cases("1"))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_naturalness_costs_as_much_for_too_soft_as_for_too_sharp(factor):
    scores = {"score": 1.0, "mid_band": factor}
    assert naturalness(scores)["score"] == pytest.approx(1 - 4 * math.log(2))
    assert naturalness({"score": 1.0, "mid_band": 1.0})["score"] == 1
