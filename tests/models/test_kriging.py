"""Laws of kriging: what must come out whatever was measured, and that it is the best where its assumptions hold."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.models.kriging import TAPS, Correlation, Kriging, applied, class_sums

WIDTH_PX = 2.0


def field(shape, seed=0, noise=0.0):
    """A stationary, isotropic field of unit deviation."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=shape), WIDTH_PX, mode="wrap")
    return (smooth / smooth.std() + noise * rng.normal(size=shape)).astype(np.float32)


def truth(d, r):
    """Its covariance in closed form."""
    return np.exp(-(d**2 + r**2) / (4 * WIDTH_PX**2))


VOLUME = field((64, 96, 96))
MEASURED = Correlation.measured(list(VOLUME[::4]))


def guess(kriging, sections, first):
    weights, rms = kriging.weights(first, len(sections))
    return applied(weights, [class_sums(s, kriging.classes) for s in sections]), rms


def test_what_is_measured_is_the_covariance_of_the_field():
    d, r = np.array([0.0, 1.0, 2.0, 3.0, 0.0]), np.array([0.0, 0.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(MEASURED.at(d, r), truth(d, r), atol=0.05)
    assert MEASURED.variance == pytest.approx(1, abs=0.1)


def test_beyond_what_was_measured_the_last_holds():
    assert MEASURED.at(np.array([60.0]), np.array([0.0])) == MEASURED.at(np.array([48.0]), np.array([0.0]))


def test_sections_without_structure_are_taken_to_be_like_others():
    found = Correlation.measured([np.zeros((32, 32), np.float32)])
    assert np.array_equal(found.table, Correlation.usual().table)


@pytest.mark.parametrize("px", [1.0, 2.0, 4.0])
def test_the_distance_of_sections_is_read_from_their_likeness(px):
    assert MEASURED.spacing(float(truth(px, 0)), slab=False) == pytest.approx(px, abs=0.5)


def test_sections_that_are_alike_count_as_near_and_strangers_as_far():
    assert MEASURED.spacing(1.0) == 0.25
    assert MEASURED.spacing(-1.0) == 48.0


@pytest.mark.parametrize("slab", [False, True])
@pytest.mark.parametrize("reach", ["plane", "row"])
@pytest.mark.parametrize(("first", "count"), [(-1.5, 4), (-0.25, 3), (-0.5, 2), (-1.3, 2), (0.0, 1)])
def test_constant_sections_give_the_constant(slab, reach, first, count):
    kriging = Kriging(MEASURED, 3.0, slab, reach)
    mean, rms = guess(kriging, [np.full((12, 14), 7.0, np.float32)] * count, first)
    np.testing.assert_allclose(mean, 7, rtol=1e-4)
    assert rms >= 0


def test_mirrored_sections_give_the_mirrored_answer():
    kriging, four = Kriging(MEASURED, 3.0), list(VOLUME[:12:3])
    one, _ = guess(kriging, four, -1.25)
    other, _ = guess(kriging, four[::-1], -1.75)
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_turned_sections_give_the_turned_answer():
    kriging, four = Kriging(MEASURED, 3.0), list(VOLUME[:12:3])
    one, _ = guess(kriging, four, -1.25)
    other, _ = guess(kriging, [s.T for s in four], -1.25)
    np.testing.assert_allclose(one, other.T, atol=1e-5)


def test_a_row_has_a_say_along_itself_only():
    kriging = Kriging(MEASURED, 3.0, reach="row")
    dot = np.zeros((9, 9), np.float32)
    dot[4, 4] = 1
    answer, _ = guess(kriging, [dot, dot], -0.5)
    assert np.flatnonzero(answer.any(axis=1)).tolist() == [4]
    assert answer[4].any()


@pytest.mark.parametrize("k", [2, 4])
def test_on_a_field_that_is_the_same_everywhere_it_beats_linear_and_knows_its_error(k):
    volume = field((64, 96, 96), noise=0.4)
    acquired = volume[::k]
    kriging = Kriging(Correlation.measured(list(acquired)), float(k))
    errors, linear = [], []
    for z in range(1, len(acquired) - 2, 3):
        mean, rms = guess(kriging, list(acquired[z - 1 : z + 3]), -1.5)
        hidden = volume[z * k + k // 2]
        errors.append(((mean - hidden)[8:-8, 8:-8] ** 2).mean())
        linear.append((((acquired[z] + acquired[z + 1]) / 2 - hidden)[8:-8, 8:-8] ** 2).mean())
    assert np.mean(errors) < 0.9 * np.mean(linear)
    assert rms == pytest.approx(np.sqrt(np.mean(errors)), rel=0.25)


def test_slabs_are_guessed_apart():
    k = 4
    slabs = VOLUME.reshape(16, k, 96, 96).mean(axis=1)
    kriging = Kriging(Correlation.measured(list(slabs)), float(k), slab=True)
    mean, _ = guess(kriging, list(slabs[3:7]), -1 - 3 / 8)  # the last fine section of slab 4
    hidden = VOLUME[4 * k + 3]
    assert ((mean - hidden) ** 2).mean() < 0.8 * ((slabs[4] - hidden) ** 2).mean()


def test_magnified_sections_are_alike_further_away():
    larger = MEASURED.magnified(2.0)
    assert larger.at(np.array([4.0]), np.array([0.0])) == pytest.approx(MEASURED.at(np.array([2.0]), np.array([0.0])))


def test_noise_makes_all_but_a_pixel_itself_less_alike():
    noisy = MEASURED.noisy(MEASURED.variance)
    assert noisy.table[0, 0] == 1
    np.testing.assert_allclose(noisy.table[3, 4], MEASURED.table[3, 4] / 2)
    assert noisy.variance == pytest.approx(2 * MEASURED.variance)


def test_patches_are_taps_wide_and_classes_hold_every_pixel_once():
    for reach, count in (("plane", TAPS**2), ("row", TAPS)):
        pixels = [pixel for members in Kriging(MEASURED, 1.0, reach=reach).classes for pixel in members]
        assert len(pixels) == len(set(pixels)) == count
