"""Laws of the runs that networks along z learn from."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.normalisation import robust_mean_std
from napari_emsynth.training.planes import Simulation
from napari_emsynth.training.runs import Need, Runs

PLAIN = Simulation(rescale=0, jitter=0, contrast=0, noise=0)


def block(shape=(96, 64, 72)):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def runs(simulation=PLAIN, shape=(96, 64, 72)):
    return Runs([block(shape)], axes=(0, 1, 2), size=32, simulation=simulation)


def test_a_run_has_what_its_neighbours_need():
    assert Need(4).sections == 28
    assert Need(5, before=2, after=3).sections == 25
    assert runs().draw(np.random.default_rng(0), Need(4)).shape == (28, 32, 32)


def test_without_defects_voxels_are_those_of_the_block():
    fine = runs().draw(np.random.default_rng(1), Need(3))
    mean, std = robust_mean_std(block())
    grey = fine * std + mean
    np.testing.assert_allclose(grey, grey.round(), atol=1e-3)
    assert abs(fine.mean()) < 0.2
    assert fine.std() == pytest.approx(1, abs=0.3)


def test_the_seed_decides():
    one, same, other = (runs(Simulation()).draw(np.random.default_rng(seed), Need(4)) for seed in (3, 3, 4))
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()


def test_a_run_longer_than_the_block_is_magnified():
    """A factor of 12 wants 84 sections; where there are fewer the block is stretched."""
    fine = runs(shape=(48, 40, 44)).draw(np.random.default_rng(0), Need(12))
    assert fine.shape == (84, 32, 32)
    along, across = np.abs(np.diff(fine, axis=0)).mean(), 1.1  # 1.1: mean difference of independent voxels
    assert along < 0.8 * across


def test_what_cannot_serve_is_refused():
    with pytest.raises(InputError, match="isotropic volumes only"):
        Runs([block()], axes=(0,), size=32)
    with pytest.raises(InputError, match="at least 32 px along every axis, got 24 px"):
        Runs([block((24, 64, 64))], axes=(0, 1, 2), size=32)
