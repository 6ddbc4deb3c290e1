"""Noise and likeness of two sections, against what was put in."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.metrics.neighbours import correlation_of, noise_of

RNG = np.random.default_rng(0)
TISSUE = gaussian_filter(RNG.standard_normal((200, 220)), 4)
TISSUE = (TISSUE / TISSUE.std()).astype(np.float32)


@pytest.mark.parametrize("deviation", [0.05, 0.3, 1.0])
def test_white_noise_is_measured_and_structure_is_not(deviation):
    a, b = (TISSUE + deviation * RNG.standard_normal(TISSUE.shape).astype(np.float32) for _ in range(2))
    assert noise_of(a, b) == pytest.approx(deviation, rel=0.05)
    assert noise_of(TISSUE, np.roll(TISSUE, 3, axis=0)) < 0.02


def test_correlation_follows_the_noise():
    assert correlation_of(TISSUE, TISSUE) == pytest.approx(1, abs=1e-5)
    assert correlation_of(TISSUE, -2 * TISSUE + 5) == pytest.approx(-1, abs=1e-5)
    noisy = TISSUE + RNG.standard_normal(TISSUE.shape).astype(np.float32)
    assert correlation_of(TISSUE, noisy) == pytest.approx(np.sqrt(0.5), abs=0.03)


def test_constant_and_tiny_sections_have_an_answer():
    flat = np.zeros((1, 1), np.float32)
    assert noise_of(flat, flat) == 0
    assert correlation_of(flat, flat) == 1
