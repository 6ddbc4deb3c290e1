"""Posing held-out sections as missing while a network trains."""

import math

import numpy as np
import pytest

from napari_emsynth.methods.interpolate.held_out import held_out_cases, held_out_scores, naturalness

RNG = np.random.default_rng(0)
BLOCK = RNG.integers(0, 255, (11, 40, 50)).astype(np.uint8)


def test_cases_are_crops_whose_sizes_a_network_with_strides_takes():
    cases = held_out_cases([BLOCK], 2)
    assert len(cases) == 5
    for case in cases:
        assert case.below.shape == case.truth.shape == case.above.shape == (32, 48)
        assert case.gap == 2
    mean, std = BLOCK.mean(), BLOCK.std()
    assert cases[0].peak == pytest.approx(255 / std, rel=0.1)
    lower_right = (BLOCK[2, -32:, -48:] - mean) / std
    np.testing.assert_allclose(cases[0].truth, lower_right, atol=0.2)


def test_a_block_too_short_for_a_gap_has_no_case():
    assert held_out_cases([BLOCK[:4]], 2) == []
    assert len(held_out_cases([BLOCK[:5]], 2)) == 1


def test_the_truth_scores_best_and_linear_gains_nothing():
    perfect = held_out_scores([BLOCK], lambda case: case.truth)
    linear = held_out_scores([BLOCK], lambda case: 0.5 * (case.below + case.above))
    assert perfect["mid_band"] == pytest.approx(1)
    assert perfect["score"] > 20
    assert linear["score"] == pytest.approx(0)
    assert linear["mid_band"] == pytest.approx(0.5, abs=0.1)  # the mean of two independent sections
    assert {f"psnr_{g}" for g in (1, 2, 3, 4)} <= set(linear)


def test_nothing_held_out_scores_nothing():
    assert held_out_scores([], lambda case: case.truth)["score"] == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_naturalness_costs_as_much_for_too_soft_as_for_too_sharp(factor):
    scores = {"score": 1.0, "mid_band": factor}
    assert naturalness(scores)["score"] == pytest.approx(1 - 4 * math.log(2))
    assert naturalness({"score": 1.0, "mid_band": 1.0})["score"] == 1
