"""Samples for registration: the displacement that is told is the one that was done."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.nn.warp import warp
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.samples.registration import SectionPairs, Simulation

BLOCK = Phantom(shape=(6, 100, 110), noise=0.0).volume().data
CALM = Simulation(
    max_gap=1, magnify=(1.0, 1.0), shift_px=(1.0, 2.0), rotation_deg=0.5, warp_px=(1.0, 2.0),
    wavelength_px=(20.0, 30.0), same=1.0, strangers=0.0, spoiled=0.0, noise_max=0.0,
)  # fmt: skip


def alike(a, b):
    inner = (..., slice(10, -10), slice(10, -10))
    return float(np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1])


def test_the_displacement_pulls_the_moving_section_onto_the_fixed_one():
    pairs = SectionPairs([BLOCK], size=64, simulation=CALM).batch(np.random.default_rng(0), 6)
    assert pairs.moving.shape == pairs.fixed.shape == (6, 1, 64, 64)
    assert pairs.displacement.shape == (6, 2, 64, 64)
    assert (pairs.related == 1).all()
    pulled = warp(pairs.moving, pairs.displacement)
    pushed = warp(pairs.moving, -pairs.displacement)
    for i in range(6):
        assert alike(pulled[i], pairs.fixed[i]) > 0.93
        assert alike(pulled[i], pairs.fixed[i]) > alike(pushed[i], pairs.fixed[i])


def test_neighbours_are_warped_as_said():
    samples = SectionPairs([BLOCK], size=64, simulation=Simulation(**{**vars(CALM), "same": 0.0}))
    drawn = samples.triples(np.random.default_rng(0), 6)
    assert drawn.moving.shape == drawn.fixed.shape == drawn.warped.shape == (6, 1, 64, 64)
    pulled, pushed = warp(drawn.fixed, drawn.warp), warp(drawn.fixed, -drawn.warp)
    for i in range(6):
        assert alike(pulled[i], drawn.warped[i]) > 0.97 > alike(pushed[i], drawn.warped[i])
        assert not torch.equal(drawn.moving[i], drawn.fixed[i])


def test_the_seed_decides():
    draws = [SectionPairs([BLOCK], size=48).batch(np.random.default_rng(4), 2).moving for _ in range(2)]
    assert torch.equal(*draws)


def test_strangers_are_told_apart():
    lost = Simulation(**{**vars(CALM), "strangers": 1.0})
    pairs = SectionPairs([BLOCK], size=48, simulation=lost).batch(np.random.default_rng(0), 3)
    assert (pairs.related == 0).all()


def test_a_block_too_small_is_refused():
    with pytest.raises(InputError, match="at least 3 sections of 64 x 64 px"):
        SectionPairs([BLOCK[:2]], size=128)
    with pytest.raises(InputError, match="64 x 64"):
        SectionPairs([BLOCK[:, :50]], size=128)
