"""Whether pixels are finer than what a volume shows."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.trust.oversampled import correlation_length, oversampled, smoothness
from napari_emsynth.volume import Volume

RNG = np.random.default_rng(0)
BLOBS = gaussian_filter(RNG.normal(size=(256, 256)), 2.0)
BLOBS /= BLOBS.std()


def test_the_length_of_a_known_blur():
    # Noise blurred with sigma has the autocorrelation exp(-d^2 / 4 sigma^2).
    expected = np.sqrt(1 + 4 * 2.0**2 * np.log(2))
    assert correlation_length(BLOBS) == pytest.approx(expected, rel=0.1)


def test_brightness_contrast_and_white_noise_change_nothing():
    length = correlation_length(BLOBS)
    assert correlation_length(7 - 3 * BLOBS) == pytest.approx(length)
    noisy = BLOBS + RNG.normal(size=BLOBS.shape)
    assert correlation_length(noisy) == pytest.approx(length, rel=0.1)


def test_magnified_images_have_longer_structures():
    assert correlation_length(zoom(BLOBS, 2, order=3)) == pytest.approx(2 * correlation_length(BLOBS), rel=0.15)


def test_noise_alone_and_nothing_at_all_have_no_length():
    assert not correlation_length(np.zeros((40, 40))) > 0
    assert not correlation_length(RNG.normal(size=(4, 4))) > 4


def test_only_plainly_fine_pixels_are_named():
    fine = Phantom(shape=(3, 96, 96), cell_px=48.0, noise=10.0).volume()
    assert oversampled(fine) > 4
    assert oversampled(Volume.of(RNG.integers(0, 255, (3, 64, 64), dtype=np.uint8))) is None
    assert oversampled(Volume.of(fine.data[:, :31])) is None
    unknown = fine.data.astype(np.float32)
    unknown[:, :20] = np.nan
    assert oversampled(Volume.of(unknown)) == pytest.approx(oversampled(fine), rel=0.3)


def test_smoothness_is_the_correlation_of_adjacent_pixels():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5, 96, 96))
    assert abs(smoothness(Volume.of(noise))) < 0.05
    wide = gaussian_filter(noise, (0, 4, 4))
    # Of a Gaussian of deviation s: exp(-1 / 4 s^2).
    assert smoothness(Volume.of(wide)) == pytest.approx(np.exp(-1 / 64), abs=0.01)
    assert smoothness(Volume.of(wide * 40 - 7)) == pytest.approx(smoothness(Volume.of(wide)))
    wide[:, :20] = np.nan
    assert smoothness(Volume.of(wide)) == pytest.approx(np.exp(-1 / 64), abs=0.02)
    assert np.isnan(smoothness(Volume.of(np.zeros((2, 20, 20)))))
