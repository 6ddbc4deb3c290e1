"""Laws of the planes that reslice networks learn from."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.emsynth.reslice_samples import acquiring
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.samples.planes import PlaneSamples, Simulation, along_sections, jittered

PLAIN = Simulation(rescale=0, jitter=0, contrast=0, noise=0, alone=0)


@pytest.fixture(scope="module")
def block():
    return Phantom(shape=(72, 80, 88)).volume().read(slice(None))


def samples(block, axes=(0, 1, 2), simulation=PLAIN):
    return PlaneSamples([block], axes=axes, planes=5, size=32, simulation=simulation)


@pytest.mark.parametrize("factor", [2.0, 3.0, 5.0])
def test_point_sampling_shows_the_truth_where_sections_were_acquired(block, factor):
    plane = samples(block).draw(np.random.default_rng(0), factor, acquiring(factor, "point"))
    known, shown = plane.acquired.known, plane.acquired.start[2]
    assert 0 < known.sum() <= 32 / factor + 1
    np.testing.assert_allclose(shown[known], plane.truth[known], atol=1e-5)
    assert np.abs(shown[~known] - plane.truth[~known]).mean() > 1e-3


@pytest.mark.parametrize("factor", [2.0, 4.0, 2.7])
def test_slab_means_of_the_truth_are_what_was_acquired(block, factor):
    plane = samples(block).draw(np.random.default_rng(1), factor, acquiring(factor, "slab"))
    shares, thick = plane.acquired.shares, plane.acquired.thick[2]
    whole = shares.sum(axis=1) > 0
    assert whole.sum() >= 32 // factor - 2
    np.testing.assert_allclose((shares @ plane.truth)[whole], thick[whole], atol=1e-4)
    assert not plane.acquired.known.any()


def test_isotropic_blocks_show_side_planes_and_all_axes(block):
    drawn = [samples(block).draw(np.random.default_rng(i), 4.0, acquiring(4.0, "slab")) for i in range(6)]
    assert all(plane.sides for plane in drawn)
    assert all(np.abs(plane.acquired.start[0]).max() > 0 for plane in drawn)


def test_anisotropic_blocks_show_planes_alone(block):
    plane = samples(block, axes=(0,)).draw(np.random.default_rng(0), 4.0, acquiring(4.0, "slab"))
    assert not plane.sides
    assert not plane.acquired.start[[0, 1, 3, 4]].any()
    assert plane.acquired.start[2].any()


def test_simulated_defects_leave_slab_means_true(block):
    everything = Simulation(rescale=1, jitter=1, contrast=1, noise=0)
    plane = samples(block, simulation=everything).draw(np.random.default_rng(3), 4.0, acquiring(4.0, "slab"))
    whole = plane.acquired.shares.sum(axis=1) > 0
    means = plane.acquired.shares @ plane.truth
    np.testing.assert_allclose(means[whole], plane.acquired.thick[2][whole], atol=1e-4)


def test_equal_seeds_draw_equal_planes(block):
    a, b = (
        samples(block, simulation=Simulation()).draw(np.random.default_rng(7), 3.0, acquiring(3.0, "point"))
        for _ in range(2)
    )
    np.testing.assert_array_equal(a.truth, b.truth)
    np.testing.assert_array_equal(a.acquired.start, b.acquired.start)


def test_jitter_moves_rows_along_the_plane_as_sections_do():
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (1, 24, 64)).copy()
    moved = jittered(ramp, np.random.default_rng(0), 6.0, 3.0)[0, :, 24:40] - ramp[0, :, 24:40]
    # One shift a row, and a straight line from section to section.
    np.testing.assert_allclose(moved, moved[:, :1].repeat(16, axis=1), atol=1e-3)
    assert 0.05 < np.abs(moved).max() <= 4.0
    assert (np.abs(np.diff(moved[:, 0], n=2)) > 0.2).sum() <= 24 // 6 + 2


def test_what_changes_from_section_to_section_is_normal():
    drawn = np.concatenate([along_sections(np.random.default_rng(i), 48, 1.0) for i in range(50)])
    assert abs(drawn.mean()) < 0.1
    assert 0.5 < drawn.std() <= 1.1


def test_small_blocks_are_refused_with_their_size():
    with pytest.raises(InputError, match="got 20 px"):
        samples(np.zeros((20, 64, 64), np.uint8))
