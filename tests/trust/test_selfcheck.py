import numpy as np
import pytest

from napari_emsynth.trust.selfcheck import Sample, calibrate, check, floors, intensity_range


def sample(error=0.1, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    truth, below, above = rng.standard_normal((3, 64, 64)).astype(np.float32)
    mean = truth + error * rng.standard_normal((64, 64)).astype(np.float32)
    return Sample(
        truth=truth, mean=mean, scale=np.full_like(truth, scale), below=below, above=above, t=0.5, peak=10.0
    )


def test_calibration_covers_the_stated_share():
    s = sample(error=0.3)
    factor = calibrate([s])
    assert (np.abs(s.truth - s.mean) <= factor * s.scale).mean() == pytest.approx(0.9, abs=0.01)


def test_calibration_undoes_any_unit_of_the_scale():
    assert calibrate([sample(scale=5.0)]) == pytest.approx(calibrate([sample(scale=1.0)]) / 5, rel=1e-5)


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
    assert floors(below, above, 0.25)["nearest"] is below
    assert floors(below, above, 0.75)["nearest"] is above
    np.testing.assert_allclose(floors(below, above, 0.25)["linear"], 0.25)
    np.testing.assert_allclose(floors(below, above, 0.25)["blurred_linear"], 0.25, atol=1e-6)


def test_intensity_range():
    ramp = np.linspace(0, 4000, 10000).reshape(100, 100)
    assert intensity_range(ramp.astype(np.uint8)) == 255
    assert intensity_range(ramp.astype(np.uint16)) == pytest.approx(4000, rel=0.01)
    ramp[0] = np.nan
    assert intensity_range(ramp) == pytest.approx(4000, rel=0.03)
    assert intensity_range(np.full((4, 4), np.nan)) == 1.0
