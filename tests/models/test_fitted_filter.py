"""Laws of the least-squares filter, and what it finds on sections whose answer is known."""

from functools import reduce

import numpy as np
import pytest
from scipy.ndimage import correlate, shift

from napari_emsynth.models.fitted_filter import (
    RIDGES,
    TAPS,
    Equations,
    apply,
    best_ridge,
    equations,
    linear_taps,
    near_offsets,
    sides,
    solve,
    taps_of,
)

RNG = np.random.default_rng(0)
FOUR = (-2, -1, 1, 2)


def noise(n, edge=40):
    return RNG.standard_normal((n, edge, edge)).astype(np.float32)


def fit(places, offsets, ridge=RIDGES[0]):
    return taps_of(solve(reduce(Equations.__add__, places), offsets, ridge))


def test_applying_is_correlation_about_mirrored_edges():
    taps, sections = RNG.standard_normal((3, TAPS, TAPS)).astype(np.float32), noise(3, 20)
    expected = sum(
        correlate(s.astype(np.float64), t.astype(np.float64), mode="reflect")
        for s, t in zip(sections, taps, strict=True)
    )
    np.testing.assert_allclose(apply(taps, sections), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (7, 50)])
def test_any_size_is_answered_in_its_size(shape):
    sections = RNG.standard_normal((2, *shape)).astype(np.float32)
    np.testing.assert_allclose(apply(linear_taps((-1, 1)), sections), sections.mean(axis=0), atol=1e-6)


def test_a_truth_that_is_a_filter_of_the_sections_is_found():
    taps = (0.3 * RNG.standard_normal((4, TAPS, TAPS))).astype(np.float32)
    places = [equations(s, apply(taps, s)) for s in noise(3 * 4).reshape(3, 4, 40, 40)]
    np.testing.assert_allclose(fit(places, FOUR, 1e-9), taps, atol=1e-3)


def test_a_truth_between_shifted_sections_is_better_than_linear():
    truth = np.stack([shift(s, 0) for s in noise(4)])
    moved = [np.stack((np.roll(t, 1, axis=1), np.roll(t, -1, axis=1))) for t in truth]
    *learn, hidden = [equations(s, t) for s, t in zip(moved, truth, strict=True)]
    found = fit(learn, (-1, 1)).ravel().astype(np.float64)
    assert hidden.error(found) < 0.01
    assert hidden.error(linear_taps((-1, 1)).ravel().astype(np.float64)) > 0.4


def test_equations_add_up_and_come_apart():
    a, b = (equations(noise(2), noise(1)[0], step=s) for s in (1, 2))
    both = a + b
    assert both.count == a.count + b.count == 34 * 34 + 17 * 17
    rest = both - b
    np.testing.assert_allclose(rest.gram, a.gram, atol=1e-3)
    assert rest.power == pytest.approx(a.power)


def test_the_error_is_the_mean_square_that_the_filter_leaves():
    sections, truth, taps = noise(2), noise(1)[0], RNG.standard_normal((2, TAPS, TAPS)).astype(np.float32)
    inner = slice(TAPS // 2, -(TAPS // 2))
    expected = np.mean((apply(taps, sections) - truth)[inner, inner] ** 2)
    assert equations(sections, truth).error(taps.ravel().astype(np.float64)) == pytest.approx(expected, rel=1e-4)


def test_some_sections_alone_are_part_of_the_equations_of_all():
    sections, truth = noise(4), noise(1)[0]
    columns = list(range(TAPS**2, 3 * TAPS**2))
    np.testing.assert_allclose(
        equations(sections, truth).of(columns).gram, equations(sections[1:3], truth).gram, rtol=1e-4, atol=1e-2
    )


def test_with_a_heavy_ridge_the_filter_stays_at_linear_interpolation():
    places = [equations(noise(2), noise(1)[0])]
    np.testing.assert_allclose(fit(places, (-1, 3), 1e6), linear_taps((-1, 3)), atol=1e-4)


def test_the_ridge_is_light_where_there_is_much_to_learn_and_heavy_where_there_is_nothing():
    taps = (0.3 * RNG.standard_normal((2, TAPS, TAPS))).astype(np.float32)
    told = [equations(s, apply(taps, s)) for s in noise(8).reshape(4, 2, 40, 40)]
    mixed = [
        equations(s, s.mean(axis=0) + t) for s, t in zip(noise(8, 16).reshape(4, 2, 16, 16), noise(4, 16), strict=True)
    ]
    assert best_ridge(told, (-1, 1))[0] == RIDGES[0]
    assert best_ridge(mixed, (-1, 1))[0] == RIDGES[-1]


@pytest.mark.parametrize(
    ("offsets", "shares"),
    [((-1, 1), (0.5, 0.5)), ((-1, 3), (0.75, 0.25)), (FOUR, (0, 0.5, 0.5, 0)), ((-3, -2), (0, 1)), ((2,), (1,))],
)
def test_linear_taps_by_hand(offsets, shares):
    taps = linear_taps(offsets)
    assert taps.sum() == pytest.approx(1)
    np.testing.assert_allclose(taps[:, TAPS // 2, TAPS // 2], shares)


def test_offsets_fall_into_sides_from_near_to_far():
    assert sides((-5, -2, 1, 3)) == ((-2, -5), (1, 3))
    assert sides((1, 3)) == ((), (1, 3))
    assert near_offsets((-5, -2, 1, 3)) == (-2, 1)
    assert near_offsets((1, 3)) == (1,)
    assert near_offsets((-3, -2)) == (-2,)
