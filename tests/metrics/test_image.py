import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_emsynth.errors import InputError
from napari_emsynth.metrics import bin2, coverage, psnr, psnr_binned, ssim


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (40, 53), dtype=np.uint8)
    b = np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)
    return a, b


def test_identity_is_perfect(pair):
    a, _ = pair
    assert psnr(a, a) == math.inf
    assert ssim(a, a) == pytest.approx(1.0)


def test_symmetry(pair):
    a, b = pair
    assert psnr(a, b) == psnr(b, a)
    assert ssim(a, b) == pytest.approx(ssim(b, a))


def test_psnr_of_a_known_offset():
    a = np.zeros((4, 4), np.uint8)
    assert psnr(a, a + 255) == pytest.approx(0.0)
    assert psnr(a, a + 51) == pytest.approx(20 * math.log10(5))


def test_uint8_differences_do_not_wrap():
    a, b = np.full((3, 3), 1, np.uint8), np.full((3, 3), 2, np.uint8)
    assert psnr(a, b) == pytest.approx(20 * math.log10(255))


def test_agrees_with_scikit_image(pair):
    a, b = pair
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    reference = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11
    )
    assert ssim(a, b) == pytest.approx(reference, abs=1e-9)


def test_peak_scales_with_the_data(pair):
    a, b = pair
    assert psnr(a / 255, b / 255, peak=1.0) == pytest.approx(psnr(a, b))
    assert ssim(a / 255, b / 255, peak=1.0) == pytest.approx(ssim(a, b))


def test_nan_is_left_out(pair):
    a, b = (p.astype(np.float32) for p in pair)
    holed = a.copy()
    holed[:, :20] = np.nan
    assert psnr(holed, b) == pytest.approx(psnr(a[:, 20:], b[:, 20:]))
    assert 0 < ssim(holed, b) < 1
    assert math.isnan(psnr(np.full_like(a, np.nan), b))
    assert math.isnan(ssim(np.full_like(a, np.nan), b))


@pytest.mark.parametrize("shape", [(1, 5), (7, 3), (33, 65)])
def test_tiny_sizes(shape):
    a = np.random.default_rng(1).random(shape) * 255
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, 255 - a) < 0.5


def test_bin2_means_blocks_and_drops_the_rest():
    a = np.arange(15.0).reshape(3, 5)
    assert bin2(a, 2).tolist() == [[3.0, 5.0]]
    assert bin2(a, 1).tolist() == a.tolist()


@pytest.mark.parametrize("factor", [0, 4])
def test_bin2_refuses(factor):
    with pytest.raises(InputError, match=f"factor {factor} px is outside 1 to 3 px"):
        bin2(np.zeros((3, 5)), factor)


def test_binning_forgives_noise(pair):
    a, b = pair
    assert psnr_binned(a, b, 2) > psnr(a, b) + 3
    assert psnr_binned(a, b, 4) > psnr_binned(a, b, 2) + 3


def test_shapes_must_match():
    with pytest.raises(InputError, match="cannot be compared"):
        psnr(np.zeros((2, 3)), np.zeros((3, 2)))


def test_coverage_counts_pixels_inside():
    truth = np.array([[0, 10], [20, 30]], np.uint8)
    mean = np.array([[0, 12], [25, 30]])
    assert coverage(truth, mean, np.full((2, 2), 2.0)) == 0.75
    assert coverage(truth, mean, np.full((2, 2), 5.0)) == 1.0
    assert coverage(truth, mean, np.zeros((2, 2))) == 0.5


def test_coverage_of_a_normal_error():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(200, 200))
    assert coverage(truth, np.zeros_like(truth), np.full_like(truth, 1.645)) == pytest.approx(0.9, abs=0.01)
    truth[:] = np.nan
    assert math.isnan(coverage(truth, np.zeros_like(truth), np.ones_like(truth)))
