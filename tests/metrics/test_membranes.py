import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from napari_emsynth.metrics import adapted_rand, membrane_segmentation, voi
from napari_emsynth.metrics.membranes import ridges


@pytest.fixture(scope="module")
def tissue():
    """Bright round cells with dark walls between them, noise on top: volume uint8, and ids; both [48, 64, 64]."""
    rng, shape = np.random.default_rng(0), (48, 64, 64)
    centres = np.stack(np.meshgrid(*(np.arange(8, n, 16) for n in shape), indexing="ij"), -1).reshape(-1, 3)
    centres = centres + rng.uniform(-3, 3, centres.shape)
    where = np.stack(np.indices(shape), -1).reshape(-1, 3)
    distance, nearest = cKDTree(centres).query(where, k=2)
    wall = (np.diff(distance, axis=1)[:, 0] < 2.5).reshape(shape)
    image = gaussian_filter(np.where(wall, 60.0, 180.0), 0.7) + rng.normal(0, 8, shape)
    return np.clip(image, 0, 255).astype(np.uint8), nearest[:, 0].reshape(shape) + 1


def test_cells_are_told_apart(tissue):
    volume, truth = tissue
    found = membrane_segmentation(volume)
    assert found.dtype == np.int32
    assert found.min() == 1
    assert sum(voi(truth, found)) < 1  # of 5.5 bits
    assert adapted_rand(truth, found)[0] < 0.1


def test_the_same_volume_gives_the_same_answer_at_any_contrast(tissue):
    volume = tissue[0][:24, :40, :40]
    found = membrane_segmentation(volume)
    assert np.array_equal(membrane_segmentation(volume), found)
    assert voi(found, membrane_segmentation(0.25 * volume.astype(np.float64) + 1000)) == pytest.approx((0, 0), abs=0.05)


def test_joining_more_merges_more(tissue):
    volume, truth = tissue
    splits, merges = zip(*(voi(truth, membrane_segmentation(volume, join)) for join in (0, 1, 1e6)), strict=True)
    assert splits[0] >= splits[1] >= splits[2] == 0
    assert merges[0] <= merges[1] < merges[2]
    assert membrane_segmentation(volume, 1e6).max() == 1


def test_damaged_walls_cost(tissue):
    volume, truth = tissue
    blurred = gaussian_filter(volume.astype(np.float32), (4, 0, 0))
    assert sum(voi(truth, membrane_segmentation(blurred))) > 2 * sum(voi(truth, membrane_segmentation(volume)))


def test_ridges_are_dark_sheets_of_any_direction():
    volume = np.full((40, 40, 40), 200.0)
    volume[20] = 100
    volume[:, :, 20] = 100
    m = ridges(volume)
    assert m[20, 10, 10] > 10 * m[15, 10, 10]
    assert m[10, 10, 20] == pytest.approx(m[20, 10, 10], rel=1e-4)
    assert np.sqrt((m**2).mean()) == pytest.approx(1, rel=1e-4)
    assert ridges(255 - volume)[20, 10, 10] < 0.01


def test_eigenvalues_are_those_of_the_general_routine(tissue):
    smooth = gaussian_filter(tissue[0][:12].astype(np.float32), 1.5)
    first = np.gradient(smooth)
    hessian = np.stack([np.stack(np.gradient(f), -1) for f in first], -1)
    largest = np.maximum(np.linalg.eigvalsh(hessian)[..., -1], 0)
    expected = largest / np.sqrt((largest**2).mean())
    assert np.allclose(ridges(tissue[0][:12]), expected, atol=1e-3)


def test_a_flat_volume_is_one_cell():
    assert np.all(membrane_segmentation(np.full((9, 10, 11), 7, np.uint8)) == 1)
