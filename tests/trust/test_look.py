"""Laws of the natural look: spectra meet, constants stay, blocks agree, and it costs no more than it may."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio
from napari_emsynth.trust.look import MOST_COST_DB, MOST_GAIN, REACH, Hidden, checked_look, look_of

RNG = np.random.default_rng(0)


def tissue(n, sigma=1.5, edge=160):
    images = gaussian_filter(RNG.standard_normal((n, edge, edge)), (0, sigma, sigma))
    return (images / images.std()).astype(np.float32)


def cases(n=4, blur=1.5, shared=0.8):
    """Truth and neighbour share most of their structures; the mean is what a blur leaves of the truth."""
    common, own, other = tissue(n), tissue(n), tissue(n)
    truth = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    neighbour = np.sqrt(shared) * common + np.sqrt(1 - shared) * other
    return [Hidden(gaussian_filter(t, blur), t, a) for t, a in zip(truth, neighbour, strict=True)]


def test_the_middle_band_of_other_sections_gets_the_power_of_real_ones():
    samples = cases(8)
    look = look_of(samples[:4])
    before = [mid_band_ratio(s.mean, s.truth) for s in samples[4:]]
    after = [mid_band_ratio(look.draw(s.mean, s.neighbour), s.truth) for s in samples[4:]]
    assert np.mean(before) < 0.4
    assert 0.85 <= np.mean(after) <= 1.15


def test_it_costs_no_more_than_it_may_where_the_neighbour_tells_nothing():
    samples = [Hidden(gaussian_filter(t, 3.0), t, n) for t, n in zip(tissue(4), tissue(4), strict=True)]
    look = look_of(samples)
    cost = [psnr(s.mean, s.truth) - psnr(look.draw(s.mean, s.neighbour), s.truth) for s in samples]
    assert np.mean(cost) <= MOST_COST_DB + 1e-6
    assert look.told()["grain"] < 1


def test_a_mean_as_sharp_as_the_truth_is_returned_as_it_is():
    (image,) = tissue(1)
    look = look_of([Hidden(image, image, tissue(1)[0])])
    np.testing.assert_allclose(look.draw(image, tissue(1)[0]), image, atol=1e-4)
    assert look.told() == {"gain": 1.0, "grain": 0.0}


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_constants_stay(value):
    flat = np.full((90, 110), value, np.float32)
    np.testing.assert_allclose(look_of(cases()).draw(flat, flat + 2), flat, atol=1e-4)


def test_blocks_agree_with_the_whole():
    samples = cases()
    look, (mean, near) = look_of(samples), (samples[0].mean, samples[0].neighbour)
    whole = look.draw(mean, near)
    part = look.draw(mean[20:150, 5:155], near[20:150, 5:155])
    inner = slice(REACH, -REACH)
    np.testing.assert_allclose(part[inner, inner], whole[20:150, 5:155][inner, inner], atol=1e-4)


def test_the_gain_is_bounded():
    assert look_of(cases(blur=6.0)).gain.max() <= MOST_GAIN + 1e-6


@pytest.mark.parametrize("samples", [[], [Hidden(*np.zeros((3, 40, 90), np.float32))]])
def test_nothing_or_too_little_to_measure_gives_no_look(samples):
    assert look_of(samples) is None


def test_constant_sections_have_a_look_that_changes_nothing():
    flat = np.zeros((64, 64), np.float32)
    np.testing.assert_allclose(look_of([Hidden(flat, flat, flat)]).draw(flat, flat), 0, atol=1e-6)


def test_looks_are_asked_for_by_name():
    assert checked_look("natural") == "natural"
    with pytest.raises(InputError, match="look 'pretty' is not one of accurate, natural"):
        checked_look("pretty")
