import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.metrics import adapted_rand, voi


@pytest.fixture
def cells():
    """Eight cubes of 6 voxels, ids from 3 to 10."""
    return np.kron(np.arange(3, 11).reshape(2, 2, 2), np.ones((6, 6, 6), np.int64)).astype(np.uint16)


def cut(cells):
    """Every cell in two equal halves."""
    return cells.astype(np.int64) * 2 + (np.indices(cells.shape)[0] % 2)


def joined(cells):
    """Cells in twos."""
    return cells // 2 + (cells == 3)


def test_a_partition_equals_itself(cells):
    assert voi(cells, cells) == (0, 0)
    assert adapted_rand(cells, cells) == pytest.approx((0, 1, 1))


def test_ids_mean_nothing(cells):
    noisy = np.where(np.random.default_rng(0).random(cells.shape) < 0.2, np.roll(cells, 7), cells)
    ids = np.random.default_rng(1).permutation(11).astype(np.uint64) * 2**40
    assert voi(cells, noisy)[0] > 0.5
    assert voi(cells, ids[noisy]) == pytest.approx(voi(cells, noisy))
    assert adapted_rand(cells, ids[noisy]) == pytest.approx(adapted_rand(cells, noisy))


def test_halves_cost_one_bit_of_split_and_half_the_recall(cells):
    assert voi(cells, cut(cells)) == pytest.approx((1, 0))
    assert adapted_rand(cells, cut(cells)) == pytest.approx((1 / 3, 1, 0.5))


def test_one_cell_of_all_costs_three_bits_of_merge(cells):
    one = np.ones_like(cells)
    assert voi(cells, one) == pytest.approx((0, 3))
    assert adapted_rand(cells, one) == pytest.approx((1 - 2 / 9, 1 / 8, 1))


def test_changing_sides_swaps_split_and_merge(cells):
    a, b = cut(cells), cells
    assert voi(a, b) == pytest.approx(voi(b, a)[::-1])
    error, precision, recall = adapted_rand(a, b)
    assert adapted_rand(b, a) == pytest.approx((error, recall, precision))


def test_0_of_the_truth_does_not_count_and_0_of_the_answer_does(cells):
    truth = cells.copy()
    truth[:, :, :6] = 0
    found = cells.copy()
    found[:, :, :6] = np.random.default_rng(0).integers(0, 9, found[:, :, :6].shape)
    assert voi(truth, found) == (0, 0)
    assert voi(cells, np.where(cells < 7, 0, cells))[1] == pytest.approx(1)


@pytest.mark.parametrize("measure", [voi, adapted_rand])
@pytest.mark.parametrize(
    ("truth", "found", "said"),
    [
        (np.ones((2, 3), int), np.ones((3, 2), int), "shapes must be equal"),
        (np.ones(3, int), np.ones(3), "dtype float64"),
        (np.zeros(3, int), np.ones(3, int), "0 does not count"),
    ],
)
def test_what_cannot_be_compared_is_refused(measure, truth, found, said):
    with pytest.raises(InputError, match=said):
        measure(truth, found)
