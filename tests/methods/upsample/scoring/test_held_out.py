"""How networks are judged while they train."""

import numpy as np
import pytest

from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.scoring.held_out import CASES, held_out, held_out_factor, held_out_scores
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData


@pytest.fixture(scope="module")
def data():
    block = Phantom(shape=(64, 56, 60)).volume().read(slice(None))
    return TrainingData(blocks=[block], held_out=[block], axes=(0, 1, 2))


@pytest.mark.parametrize(("factor", "sampling"), CASES)
def test_a_case_is_what_would_have_been_acquired(data, factor, sampling):
    (case,) = held_out(data, factor, sampling)
    np.testing.assert_allclose(case.thick, degraded(case.truth, factor, sampling), atol=1e-6)
    assert case.start.shape == case.truth.shape
    assert case.hidden.sum() == (len(case.truth) if sampling == "slab" else len(case.truth) - len(case.thick))
    again = degraded(case.consistent(case.truth + 1), factor, sampling)
    np.testing.assert_allclose(again, case.thick + (sampling == "point"), atol=1e-5)


def test_the_floor_gains_nothing_and_the_truth_gains_all(data):
    ones = np.float32(1)
    baseline = held_out_scores(data, lambda case: (case.start, ones * case.start))
    assert baseline["score"] == pytest.approx(0, abs=1e-3)
    assert baseline["psnr_slab_4"] == pytest.approx(baseline["cubic_slab_4"], abs=1e-3)
    halfway = held_out_scores(data, lambda case: ((case.start + case.truth) / 2, case.start))
    assert halfway["score"] == pytest.approx(20 * np.log10(2), abs=0.05)


def test_scales_are_widened_until_nine_in_ten_errors_are_covered(data):
    def answer(case):
        return case.truth + np.float32(0.3), np.full_like(case.truth, 0.1)

    # Back-projection takes a shift back under slab sampling: half of the voxels have no error.
    assert held_out_factor(data, answer) == pytest.approx(3.0, rel=1e-3)


def test_rows_serve_where_sections_are_thick():
    block = Phantom(shape=(12, 48, 52)).volume().read(slice(None))
    data = TrainingData(blocks=[block], held_out=[block], axes=(0,))
    (case,) = held_out(data, 4, "slab")
    assert case.truth.shape == (48, 12, 52)
    assert not case.sides


def test_without_blocks_the_law_of_laplace_holds():
    empty = TrainingData(blocks=[], held_out=[], axes=(0,))
    assert held_out_scores(empty, lambda case: (case.start, case.start)) == {"score": 0.0}
    assert held_out_factor(empty, lambda case: (case.start, case.start)) == pytest.approx(np.log(10))
