"""Polishing: exact where sections agree, harmless where they do not."""

import numpy as np
import pytest
import torch

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.emsynth.polish import correlation, equal_contrast, polish
from napari_emsynth.nn.gaussian import widely_smoothed
from napari_emsynth.nn.warp import warp
from napari_emsynth.testing.phantoms import Phantom

INNER = (..., slice(16, -16), slice(16, -16))


def section(seed=0):
    image = Phantom(shape=(1, 128, 128), seed=seed, noise=0.0).clean(0.0)
    return torch.from_numpy(((image - image.mean()) / image.std()).astype(np.float32))[None, None]


def known():
    return torch.ones(1, 2, 128, 128)


def field(px=1.0):
    drawn = Distortion(shift_px=0.5 * px, rotation_deg=0.2, warp_px=px, wavelength_px=40.0)
    return torch.from_numpy(drawn.draw(np.random.default_rng(0), (128, 128)))[None]


def off(found, true):
    return float((found - true)[INNER].norm(dim=1).mean())


def test_a_known_warp_is_found_to_a_twentieth_of_a_pixel():
    moving, u = section(), field()
    fixed = warp(moving, u)
    found = polish(moving, fixed, known(), torch.zeros_like(u))
    assert off(torch.zeros_like(u), u) > 0.7
    assert off(found, u) < 0.05


def test_contrast_and_brightness_do_not_matter():
    moving, u = section(), field()
    fixed = warp(moving, u)
    plain = polish(moving, fixed, known(), torch.zeros_like(u))
    other = polish(moving, 0.6 * fixed + 0.8, known(), torch.zeros_like(u))
    assert off(plain, other) < 0.03


def test_sections_that_agree_are_not_moved():
    image = section()
    assert polish(image, image, known(), torch.zeros(1, 2, 128, 128)).abs().max() < 1e-3


def test_what_is_unknown_does_not_pull():
    moving, u = section(), field()
    fixed = warp(moving, u)
    spoilt, mask = fixed.clone(), known()
    spoilt[..., 40:80, 40:80] = 5 * torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    mask[:, 1, 40:80, 40:80] = 0
    misled = polish(moving, spoilt, known(), torch.zeros_like(u))
    warned = polish(moving, spoilt, mask, torch.zeros_like(u))
    assert off(warned, u) < 0.5 * off(misled, u)


def test_equal_contrast_is_that():
    image = section() * torch.linspace(0.5, 3, 128) + torch.linspace(-2, 2, 128)
    flat = equal_contrast(torch.cat((image, torch.ones_like(image)), dim=1), 12.0)
    assert widely_smoothed(flat, 12.0)[INNER].abs().max() < 0.3
    assert widely_smoothed(flat**2, 12.0)[INNER].mean() == pytest.approx(0.9, abs=0.2)


def test_correlation_says_one_of_equals_and_nothing_of_strangers():
    a, b = (equal_contrast(torch.cat((section(seed), known()[:, :1]), dim=1), 12.0) for seed in (0, 5))
    assert correlation(a, a)[INNER].min() > 0.99
    assert correlation(a, b)[INNER].mean() < 0.4


def test_each_pair_is_polished_by_itself():
    # The first two agree pixel by pixel, the third does not, and the fourth is no pair.
    one, u = section(), field()
    moving = torch.cat((one, one, one, section(3)))
    noise = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    fixed = torch.cat((warp(one, u), warp(one, 0.5 * u), warp(one, u) + noise, section(7)))
    mask, start = known().repeat(4, 1, 1, 1), torch.zeros(4, 2, 128, 128)
    together = polish(moving, fixed, mask, start)
    for i in range(4):
        each = slice(i, i + 1)
        alone = polish(moving[each], fixed[each], mask[each], start[each])
        torch.testing.assert_close(together[each], alone, atol=1e-3, rtol=0)
