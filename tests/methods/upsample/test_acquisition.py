"""Laws of the operators: how sections are acquired, and what moves a guess to where it agrees with them."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.acquisition import (
    back_projected,
    cubic_weights,
    degraded,
    rounded_with_means,
    shares,
    steps,
)

FACTORS = st.one_of(st.integers(2, 12), st.floats(2, 12))


@pytest.fixture
def fine():
    return np.random.default_rng(0).normal(size=(48, 5, 6)).astype(np.float32)


@given(FACTORS)
def test_every_slab_is_a_mean_and_every_section_is_used_up(factor):
    count = 5
    whole = shares(factor, range(int(np.ceil(count * factor))), range(count))
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=0)[:-1], 1 / factor, atol=1e-5)


def test_point_leaves_sections_out_and_slab_averages_them(fine):
    assert degraded(fine, 4, "point").tobytes() == fine[::4].tobytes()
    np.testing.assert_allclose(degraded(fine, 4, "slab"), fine.reshape(12, 4, 5, 6).mean(1), atol=1e-6)
    assert len(degraded(fine, 2.5, "slab")) == 19
    with pytest.raises(InputError, match=r"2\.5 is not a whole number"):
        degraded(fine, 2.5, "point")


@pytest.mark.parametrize("factor", [2, 5, 2.5, 3.7, 11.3])
def test_back_projection_puts_slab_means_right_and_what_is_right_stays(fine, factor):
    thick = degraded(fine, factor, "slab")
    matrix = shares(factor, range(len(fine)), range(len(thick)))
    guess = fine + np.random.default_rng(1).normal(size=fine.shape).astype(np.float32)
    before = np.abs(np.tensordot(matrix, guess, 1) - thick).max()
    moved = back_projected(guess, thick, matrix, count=steps(factor))
    after = np.abs(np.tensordot(matrix, moved, 1) - thick).max()
    assert after < (1e-5 if factor == int(factor) else 0.01 * before)
    assert np.square(moved - fine).sum() < np.square(guess - fine).sum(), "a projection is nearer to the truth"
    np.testing.assert_allclose(back_projected(fine, thick, matrix), fine, atol=1e-5)


def test_slabs_that_are_not_all_there_have_no_say(fine):
    matrix = shares(4, range(2, 10), range(3))  # half of the first, all of the second, half of the third
    moved = back_projected(np.zeros((8, 5, 6), np.float32), np.ones((3, 5, 6), np.float32), matrix)
    assert moved[:, 0, 0] == pytest.approx([0, 0, 1, 1, 1, 1, 0, 0])


@given(st.lists(st.floats(-2, 9), min_size=1, max_size=8), st.integers(1, 8))
def test_cubic_interpolation_keeps_what_it_knows(positions, count):
    matrix = cubic_weights(positions, count)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(cubic_weights(range(count), count), np.eye(count), atol=1e-6)
    if count >= 4:  # a ramp, away from the ends, stays a ramp
        inner = [1.0 + (p + 2) / 11 * (count - 3) for p in positions]
        np.testing.assert_allclose(cubic_weights(inner, count) @ np.arange(count), inner, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("factor", [2, 7, 12])
def test_rounding_keeps_the_means_of_integers_bit_for_bit(dtype, factor):
    info, rng = np.iinfo(dtype), np.random.default_rng(0)
    thick = rng.integers(info.min, info.max, (3, 9, 9), dtype=dtype, endpoint=True)
    thick[0, 0, :2] = info.min, info.max  # nowhere to go
    spread = 0.2 * (float(info.max) - info.min)
    fine = np.repeat(thick, factor, axis=0) + rng.normal(0, spread, (3 * factor, 9, 9)).astype(np.float32)
    whole = rounded_with_means(fine.astype(np.float32), thick, factor)
    assert whole.dtype == dtype
    sums = whole.reshape(3, factor, 9, 9).astype(np.int64).sum(axis=1)
    np.testing.assert_array_equal(sums, factor * thick.astype(np.int64))


def test_rounding_moves_nobody_by_more_than_a_unit():
    thick = np.full((1, 4, 4), 100, np.uint8)
    fine = np.random.default_rng(0).normal(100, 5, (4, 4, 4)).astype(np.float32)
    fine += 100 - fine.mean(axis=0)
    assert np.abs(rounded_with_means(fine, thick, 4) - fine).max() <= 1 + 1e-3
