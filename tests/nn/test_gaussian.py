import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_emsynth.nn import gaussian
from napari_emsynth.nn.gaussian import radius, smoothed, widely_smoothed


@pytest.mark.parametrize("size", [(12, 17), (9, 10, 11)])
def test_constants_stay(size):
    field = torch.full((2, 3, *size), 0.7)
    torch.testing.assert_close(smoothed(field, 1.5), field)


def test_ramps_stay_away_from_the_border():
    ramp = torch.arange(40.0).view(1, 1, 1, 40).expand(1, 2, 30, 40).contiguous()
    inner = (..., slice(6, -6))
    torch.testing.assert_close(smoothed(ramp, 1.5)[inner], ramp[inner])


@pytest.mark.parametrize("size", [(20, 25), (14, 15, 16), (7, 301), (260, 9), (4, 150, 5)])
def test_equals_the_gaussian_filter_of_scipy(size):
    image = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    expected = gaussian_filter(image, 1.5, mode="nearest", radius=radius(1.5))
    np.testing.assert_allclose(smoothed(torch.from_numpy(image)[None, None], 1.5)[0, 0], expected, atol=1e-5)


def test_no_deviation_is_no_smoothing():
    image = torch.rand(1, 2, 4, 5)
    assert smoothed(image, 0) is image


@pytest.mark.parametrize("sigma", [1.0, 6.0, 20.0])
def test_wide_gaussians_are_gaussians_binned_or_not(sigma):
    image = torch.randn(1, 2, 240, 251, generator=torch.Generator().manual_seed(0))
    exact = gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=6)
    # A binned border is repeated as a bin: nearer to it than the deviation the two differ by right.
    inner = (..., slice(80, -80), slice(80, -80))
    assert np.abs(widely_smoothed(image, sigma).numpy() - exact)[inner].max() < 0.06 * np.abs(exact[inner]).max() + 1e-3
    constant = torch.full((1, 1, 30, 33), 2.5)
    assert torch.allclose(widely_smoothed(constant, sigma), constant, atol=1e-5)


@pytest.mark.parametrize("sigma", [1.3, 9.0])
@pytest.mark.parametrize("size", [(64, 100), (33, 128)])
def test_axes_in_blocks_and_whole_ones_are_the_same(monkeypatch, size, sigma):
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    whole = widely_smoothed(image, sigma)
    monkeypatch.setattr(gaussian, "WHOLE", 5)
    torch.testing.assert_close(widely_smoothed(image, sigma), whole, atol=1e-5, rtol=0)


def test_what_was_smoothed_without_learning_can_be_learned_from_later():
    image = torch.randn(1, 1, 21, 22)
    with torch.inference_mode():
        smoothed(image, 1.7)
    smoothed(image.requires_grad_(), 1.7).sum().backward()
    assert float(image.grad.sum()) == pytest.approx(image.numel(), rel=1e-4)
