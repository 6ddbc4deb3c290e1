"""Where a gap's filter is fitted, what stands in, and what it says of its own error."""

import pickle

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods.interpolate.fit import PLACES, REACH, Fitter, bundled, substitute
from napari_emsynth.methods.interpolate.plan import Marks
from napari_emsynth.methods.interpolate.protocol import Gap
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.methods.interpolate.tissue import Tissue
from napari_emsynth.models.fitted_filter import linear_taps
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

RNG = np.random.default_rng(0)
FOUR = (-2, -1, 1, 2)
EDGE = 64
WHOLE = (slice(0, EDGE), slice(0, EDGE))


def tissue(z=24, noise=6.0):
    """Smooth structures that change from section to section, with noise: four sections tell more than two."""
    field = gaussian_filter(RNG.standard_normal((z, EDGE, EDGE)), (1.2, 2, 2))
    return (128 + 40 * field / field.std() + noise * RNG.standard_normal(field.shape)).clip(0, 255).astype(np.uint8)


def fitter(data, replaced=()):
    volume = Volume.of(data)
    norms = {z: Normalisation.of_section(volume.section(z)) for z in range(len(data))}
    return Fitter(Tissue(volume, norms.__getitem__), Marks(volume.shape, set(replaced), {}))


def test_places_are_intact_with_all_their_neighbours_and_spread_out():
    work = fitter(tissue(60), replaced={30})
    found = work.places(FOUR, 30, WHOLE)
    assert not {28, 29, 30, 31, 32} & set(found)
    assert len(found) == PLACES
    assert max(30 - min(found), max(found) - 30) <= REACH - 2
    assert min(found) < 14 < 46 < max(found)
    assert sorted(60 - k for k in found) == found


def test_few_places_all_serve():
    work = fitter(tissue(12), replaced={5})
    assert work.places((-1, 1), 5, WHOLE) == [1, 2, 3, 7, 8, 9, 10]


def test_a_mirrored_stack_has_mirrored_places():
    work, back = fitter(tissue(30), replaced={12}), fitter(tissue(30), replaced={17})
    assert back.places(FOUR, 17, WHOLE) == sorted(29 - k for k in work.places(FOUR, 12, WHOLE))


def test_the_scored_section_is_no_place():
    work = fitter(tissue())
    with_it, without = (work.fit(FOUR, 12, WHOLE, without=k) for k in (None, 12))
    assert with_it.source == without.source == "volume"
    assert with_it.places == without.places + 1
    assert (with_it.taps != without.taps).any()


def test_four_sections_serve_where_they_tell_more():
    fit = fitter(tissue()).fit(FOUR, 12, WHOLE)
    assert fit.told()["offsets"] == list(FOUR)
    data = RNG.standard_normal((24, EDGE, EDGE)).astype(np.float32)
    unrelated = fitter(data).fit(FOUR, 12, WHOLE)
    assert unrelated.error > 0.9  # nothing to be learned of noise; and nothing is


def test_the_error_and_the_interval_are_those_of_sections_left_out():
    data = tissue(30)
    work = fitter(data)
    errors, inside = [], []
    for k in (10, 14, 18):
        fit = work.fit(FOUR, k, WHOLE, without=k)
        known = {o: work.tissue.norm(k + o).forward(data[k + o]) for o in FOUR}
        gap = Gap(below=known[-1], above=known[1], far_below=known[-2], far_above=known[2], offsets=FOUR, fit=fit)
        off = work.tissue.norm(k).forward(data[k]) - fit.mean(gap)
        errors.append(np.sqrt(np.mean(off**2)) / fit.error)
        inside.append(np.mean(np.abs(off) <= fit.factor * fit.scale(gap)))
    assert np.mean(errors) == pytest.approx(1, abs=0.1)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)


def test_too_few_places_are_told_and_something_stands_in():
    work = fitter(tissue(4), replaced={1})
    fit = work.fit((-1, 1, 2), 1, WHOLE)
    assert fit.source == ("bundled" if bundled() else "linear")
    assert fit.places == 0


def test_sections_smaller_than_a_patch_are_mixed():
    data = RNG.integers(0, 255, (12, 5, 5)).astype(np.uint8)
    result = interpolate(data, [5], method="fitted", runtime=Runtime(device="cpu"))
    assert result.provenance["sections"][0]["fit"]["places"] == 0
    assert any("could not be fitted" in line for line in result.provenance["notices"])


def test_what_no_filter_knows_is_mixed_linearly():
    fit = substitute((-30, 31))
    assert fit.source == "linear"
    np.testing.assert_array_equal(fit.taps, linear_taps((-30, 31)))


def test_a_substitute_without_the_far_sections_leaves_them_out():
    for offsets in (FOUR, (-40, -1, 1, 40)):
        fit = substitute(offsets)
        assert fit.taps.shape[0] == 4
        assert fit.taps.sum() == pytest.approx(1, abs=0.2)
    assert not fit.taps[[0, 3]].any()


def test_a_fit_travels():
    work = fitter(tissue())
    fit = work.fit(FOUR, 12, WHOLE)
    there = pickle.loads(pickle.dumps(work))
    assert there.fit(FOUR, 12, WHOLE).taps.tobytes() == fit.taps.tobytes()


def test_an_array_that_was_written_to_is_fitted_anew():
    data = tissue()
    before = fitter(data).fit(FOUR, 12, WHOLE)
    assert (fitter(data).fit(FOUR, 12, WHOLE).taps == before.taps).all()
    data[5:9] = data[15:19].copy()
    assert (fitter(data).fit(FOUR, 12, WHOLE).taps != before.taps).any()


def test_the_record_says_where_the_filter_came_from():
    result = interpolate(tissue(), [12], method="fitted", runtime=Runtime(device="cpu"))
    (entry,) = result.provenance["sections"]
    assert entry["served"] == [10, 11, 13, 14]
    assert entry["fit"]["source"] == "volume"
    assert entry["fit"]["places"] >= 10
    check = entry["selfcheck"]
    assert check["psnr"] > check["linear"] + 0.3
