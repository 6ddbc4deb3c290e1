"""A pair of volumes under a known warp: the form of Li & Fan's paper itself."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.align.li2017.volumes import register_volumes
from napari_emsynth.models.li2017 import Config
from napari_emsynth.nn.warp import warp
from napari_emsynth.spec import CancelToken, Runtime

SIZE = (14, 20, 24)
INNER = (slice(None), slice(4, -4), slice(4, -4), slice(4, -4))


def smooth(seed, sigma, *shape):
    noise = np.random.default_rng(seed).standard_normal(shape)
    found = gaussian_filter(noise, (*[0] * (len(shape) - 3), *[sigma] * 3))
    return (found / found.std()).astype(np.float32)


def known_warp():
    """Fixed volume, moving volume, and the displacement that pulls the second onto the first."""
    u = 0.7 * smooth(1, 7.0, 3, *SIZE) + np.array([0.8, -1.2, 1.0], np.float32)[:, None, None, None]
    moving = smooth(0, 1.5, *SIZE)
    fixed = warp(torch.from_numpy(moving)[None, None], torch.from_numpy(u)[None])[0, 0].numpy()
    return fixed, moving, u


def test_a_known_warp_is_found_by_optimising_on_the_pair_alone():
    fixed, moving, u = known_warp()
    found = register_volumes(moving, 40 * fixed + 90, iterations=60)
    start = np.linalg.norm(u[INNER], axis=0).mean()
    error = np.linalg.norm((found.displacement - u)[INNER], axis=0).mean()
    assert start > 1.5
    assert error < 0.35 * start
    assert found.similarity_after > 0.9 > found.similarity_before + 0.2
    for axis, expected in enumerate(u[INNER].mean(axis=(1, 2, 3))):  # the right way along every axis
        assert found.displacement[INNER][axis].mean() == pytest.approx(expected, abs=0.4)


def test_the_same_seed_gives_the_same_answer():
    fixed, moving, _ = known_warp()
    fixed, moving = fixed[:9, :11, :13], moving[:9, :11, :13]
    a, b = (register_volumes(moving, fixed, iterations=2).displacement for _ in range(2))
    assert a.shape == (3, 9, 11, 13)
    np.testing.assert_array_equal(a, b)


def test_nonsense_is_refused_and_a_job_can_be_cancelled():
    volume = smooth(0, 1.0, 8, 8, 8)
    with pytest.raises(InputError, match="one shape"):
        register_volumes(volume, volume[:4])
    with pytest.raises(InputError, match="must be 3"):
        register_volumes(volume, volume, config=Config())
    with pytest.raises(InputError, match="limit of 1"):
        register_volumes(volume, volume, iterations=0)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        register_volumes(volume, volume, runtime=Runtime(cancel=token))
