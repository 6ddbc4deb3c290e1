"""Kriging as a method: the laws of every method, and those of its own."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_emsynth as es
from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.methods.upsample.kriging import folded, kriged
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.methods.upsample.likeness import UNKNOWN, likeness
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.metrics import psnr
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.volume_contract import UpsampleContract
from napari_emsynth.volume import Volume


class Test(UpsampleContract):
    task = "upsample"
    id = "kriging"


@pytest.fixture(scope="module")
def phantom():
    return Phantom(shape=(49, 64, 64), drift=0.4, noise=4.0).volume()


@pytest.mark.parametrize(
    ("position", "slab", "expected"),
    [
        (1.25, False, 1.25), (-0.25, False, 0.25), (3.5, False, 2.5), (-0.4, True, -0.4), (-0.75, True, -0.25),
        (3.75, True, 3.25), (7.5, True, -0.5),
    ],
)  # fmt: skip
def test_places_are_mirrored_about_centres_or_faces(position, slab, expected):
    assert folded(position, 4, slab) == pytest.approx(expected)


def test_acquired_sections_are_their_own_answer_and_sure():
    block = np.random.default_rng(0).normal(size=(4, 16, 16)).astype(np.float32)
    mean, error = kriged(block, Ask(range(7), 2, "point"), [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(mean[[0, 2]], block[:2])
    assert error[[0, 2]].tolist() == [0, 0]
    assert error[1] > 0


@pytest.fixture(scope="module")
def tissue():
    """A volume whose pixels are alike in all directions, [z, y, x] 0 to 255, as tissue is."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(48, 64, 64)), 2)
    return np.clip(128 + 40 * smooth / smooth.std() + 8 * rng.normal(size=smooth.shape), 0, 255)


@pytest.mark.parametrize(("factor", "sampling"), [(2, "point"), (4, "point"), (4, "slab"), (2.5, "slab")])
def test_it_beats_linear_interpolation_of_what_is_alike_in_all_directions(tissue, factor, sampling):
    thick = degraded(tissue.astype(np.float32), factor, sampling).round().astype(np.uint8)
    scores = {}
    for method in ("kriging", "linear"):
        found = es.upsample(thick, factor, method=method, sampling=sampling, selfcheck=False).volume.data
        count = min(len(found), len(tissue))
        scores[method] = psnr(found[:count].astype(float), tissue[:count], 255)
    assert scores["kriging"] > scores["linear"] + 0.2


def test_a_volume_is_measured_once_and_anew_when_it_changes(monkeypatch, phantom):
    asked = []
    measure = "napari_emsynth.methods.upsample.likeness._measured"

    def counted(*args):
        asked.append(1)
        return UNKNOWN

    monkeypatch.setattr(measure, counted)
    data = phantom.data.copy()
    norm = Normalisation.of_section(data[0])
    for _ in range(2):
        likeness(Volume.of(data), norm, "point")
    assert len(asked) == 1
    likeness(Volume.of(data), norm, "slab")
    assert len(asked) == 2
    data[10] = 0
    likeness(Volume.of(data), norm, "point")
    assert len(asked) == 3


def test_damaged_sections_have_no_say(phantom):
    damaged = phantom.data.copy()
    damaged[20] = 0
    norm = Normalisation.of_section(phantom.data[0])
    whole, found = (likeness(Volume.of(data), norm, "point") for data in (phantom.data, damaged))
    assert found.spacing_px == pytest.approx(whole.spacing_px, abs=0.25)
    np.testing.assert_allclose(found.correlation.table[:8, :8], whole.correlation.table[:8, :8], atol=0.05)


@pytest.mark.parametrize("data", [np.full((4, 32, 32), 9, np.uint8), np.zeros((2, 4, 4), np.uint8)])
def test_what_shows_nothing_is_taken_to_be_as_others(data):
    found = likeness(Volume.of(data), Normalisation(9.0, 1.0, data.dtype), "point")
    assert np.array_equal(found.correlation.table, UNKNOWN.correlation.table)


def test_rows_are_as_far_apart_as_they_were_posed():
    assert Lattice(4, 3, "point").factor == UNKNOWN.posed().apart(3)
