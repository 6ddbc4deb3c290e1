import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.metrics import band_power, mid_band_ratio, radial_power
from napari_emsynth.metrics.spectrum import reslice_distance, spectral_distance


def noise(shape=(128, 160), std=3.0, seed=0):
    return np.random.default_rng(seed).normal(50, std, shape)


@pytest.mark.parametrize("shape", [(64, 64), (128, 200)])
def test_white_noise_is_flat_at_its_variance(shape):
    frequency, power = radial_power(noise(shape))
    assert frequency[0] > 0
    assert frequency[-1] < 0.5
    assert np.nanmean(power[3:]) == pytest.approx(9, rel=0.15)


def test_a_sine_peaks_at_its_frequency():
    x = np.arange(128)
    frequency, power = radial_power(np.tile(np.sin(2 * np.pi * 0.2 * x), (128, 1)))
    assert frequency[np.nanargmax(power)] == pytest.approx(0.2, abs=0.01)


def test_identity_and_contrast():
    a = noise()
    assert mid_band_ratio(a, a) == pytest.approx(1)
    assert mid_band_ratio(2 * a + 7, a) == pytest.approx(4)


def test_blur_lowers_and_noise_raises():
    a = gaussian_filter(noise(), 1)
    assert mid_band_ratio(gaussian_filter(a, 1.5), a) < 0.5
    assert mid_band_ratio(a + noise(seed=1), a) > 2


def test_size_does_not_matter():
    assert mid_band_ratio(noise((64, 64)), noise((256, 256))) == pytest.approx(1, abs=0.1)


def test_band_is_respected():
    x = np.arange(128)
    image = np.tile(np.sin(2 * np.pi * 0.4 * x), (128, 1))
    assert band_power(image) < 1e-3 * band_power(image, (0.35, 0.45))


def test_integers_and_nan():
    a = noise().astype(np.float32)
    holed = a.copy()
    holed[10:20, 30:50] = np.nan
    assert mid_band_ratio(holed, a) == pytest.approx(1, abs=0.1)
    assert mid_band_ratio(a.astype(np.uint8), a) == pytest.approx(1, abs=0.1)


def test_what_has_no_band_is_nan():
    assert math.isnan(mid_band_ratio(noise(), np.zeros((64, 64))))
    assert math.isnan(band_power(np.zeros((1, 1))))
    assert radial_power(np.ones((1, 5)))[1].shape == (1,)


def test_spectral_distance_is_zero_for_the_same_and_grows_with_blur():
    rng = np.random.default_rng(0)
    sharp = [rng.standard_normal((64, 48)) for _ in range(3)]
    soft, softer = ([gaussian_filter(image, s) for image in sharp] for s in (0.5, 1.0))
    assert spectral_distance(sharp, sharp) == 0
    assert 0 < spectral_distance(soft, sharp) < spectral_distance(softer, sharp)
    assert spectral_distance([10 * image for image in sharp], sharp) == pytest.approx(2, abs=0.01)


def test_spectral_distance_hardly_sees_the_size_of_an_image():
    rng = np.random.default_rng(0)
    small, large = ([rng.standard_normal((n, n)) for _ in range(8)] for n in (48, 96))
    assert spectral_distance(small, large) < 0.1


def test_reslices_of_thick_sections_are_far_from_sections():
    volume = gaussian_filter(noise((48, 48, 48)), 1)
    thick = np.repeat(volume[::4], 4, axis=0)
    sections = volume[::4]
    isotropic = reslice_distance(volume, sections)
    assert isotropic < 0.2
    assert reslice_distance(thick, sections) > 2 * isotropic
    assert reslice_distance(volume, volume.transpose(1, 0, 2), every=1) == pytest.approx(
        spectral_distance([*volume.transpose(1, 0, 2), *volume.transpose(2, 0, 1)], list(volume.transpose(1, 0, 2)))
    )
