import numpy as np
import pytest

from napari_emsynth.trust.selfcheck import (
    Sample,
    baselines,
    calibrate,
    check,
    cross_fitted,
    fit_mix,
    intensity_range,
    mixed,
)


def sample(error=0.1, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    truth, below, above = rng.standard_normal((3, 64, 64)).astype(np.float32)
    mean = truth + error * rng.standard_normal((64, 64)).astype(np.float32)
    return Sample(
        truth=truth,
        guesses=(mean,),
        scale=np.full_like(truth, scale),
        below=below,
        above=above,
        t=0.5,
        base=0.5 * (below + above),
        peak=10.0,
    )


def test_calibration_covers_the_stated_share():
    s = sample(error=0.3)
    factor = calibrate([s], (1.0,))
    assert (np.abs(s.truth - s.guesses[0]) <= factor * s.scale).mean() == pytest.approx(0.9, abs=0.01)


def test_calibration_undoes_any_unit_of_the_scale():
    assert calibrate([sample(scale=5.0)], (1.0,)) == pytest.approx(calibrate([sample(scale=1.0)], (1.0,)) / 5, rel=1e-5)


def test_a_good_synthesis_beats_the_floors_and_a_bad_one_does_not():
    assert check([sample(error=0.1)]).beats_floors
    assert not check([sample(error=5.0)]).beats_floors


def test_figures_are_means_over_the_hidden_sections():
    a, b = sample(seed=1), sample(seed=2, error=0.5)
    both = check([a, b])
    assert both.psnr == pytest.approx((check([a]).psnr + check([b]).psnr) / 2)
    assert both.n == 2
    assert both.to_json()["beats_floors"] is True


def test_floors_are_what_they_say():
    below, above = np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)
    assert baselines(below, above, 0.25)["nearest"] is below
    assert baselines(below, above, 0.75)["nearest"] is above
    np.testing.assert_allclose(baselines(below, above, 0.25)["linear"], 0.25)
    np.testing.assert_allclose(baselines(below, above, 0.25)["blurred_linear"], 0.25, atol=1e-6)


def test_intensity_range():
    ramp = np.linspace(0, 4000, 10000).reshape(100, 100)
    assert intensity_range(ramp.astype(np.uint8)) == 255
    assert intensity_range(ramp.astype(np.uint16)) == pytest.approx(4000, rel=0.01)
    ramp[0] = np.nan
    assert intensity_range(ramp) == pytest.approx(4000, rel=0.03)
    assert intensity_range(np.full((4, 4), np.nan)) == 1.0


def candidates(seed, noise=(1.0, 0.5, 3.0)):
    """A sample with three guesses of independent errors."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((64, 64)).astype(np.float32)
    guesses = tuple(truth + n * rng.standard_normal((64, 64)).astype(np.float32) for n in noise)
    flat = np.ones_like(truth)
    return Sample(truth=truth, guesses=guesses, scale=flat, below=truth, above=truth, t=0.5, base=flat, peak=10.0)


def test_the_mix_weighs_independent_errors_by_their_inverse_variance():
    mix = fit_mix([candidates(k) for k in range(4)])
    inverse = 1 / np.square([1.0, 0.5, 3.0])
    np.testing.assert_allclose(mix, inverse / inverse.sum(), atol=0.02)
    assert sum(mix) == pytest.approx(1)


def test_a_rival_that_only_harms_gets_nothing():
    s = sample(error=0.1)
    spoiled = Sample(**{**vars(s), "guesses": (s.guesses[0], s.guesses[0] - 3 * s.truth)})
    assert fit_mix([spoiled])[1] == pytest.approx(0, abs=0.02)


def test_the_mix_is_better_than_each_of_its_guesses():
    fresh, mix = candidates(9), fit_mix([candidates(k) for k in range(4)])
    error = np.square(mixed(fresh.guesses, mix) - fresh.truth).mean()
    assert error < min(np.square(g - fresh.truth).mean() for g in fresh.guesses)


def test_no_section_is_scored_with_what_its_own_truth_found():
    samples = [candidates(0), candidates(1), candidates(2)]
    for k, fit in enumerate(cross_fitted(samples)):
        rest = [s for j, s in enumerate(samples) if abs(j - k) == 1]
        assert fit.mix == fit_mix(rest)
        assert fit.factor == calibrate(rest, fit.mix)


def test_a_single_hidden_section_mixes_nothing():
    assert check([candidates(0)]).calibration.mix == (1.0,)
    assert len(check([candidates(0), candidates(1)]).calibration.mix) == 3
