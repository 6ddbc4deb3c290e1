"""Laws of the chunked Pearson correlation, and its value against numpy's."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.metrics.registration import chunk_correlations, cpc, stack_cpc
from napari_emsynth.testing.phantoms import Phantom


def noise(seed, shape=(64, 96)):
    return np.random.default_rng(seed).normal(size=shape)


def test_a_section_with_itself_is_one_whatever_its_gain_and_offset():
    a = noise(0)
    assert cpc(a, a) == pytest.approx(1)
    assert cpc(a, 7 * a - 300) == pytest.approx(1)
    assert cpc(a, -2 * a) == pytest.approx(-1)


def test_every_chunk_is_numpys_correlation():
    a, b = noise(0), noise(1) + noise(0)
    found = chunk_correlations(a, b)
    assert found.shape == (6,)
    expected = np.corrcoef(a[32:, 64:].ravel(), b[32:, 64:].ravel())[0, 1]
    assert found[-1] == pytest.approx(expected)
    assert cpc(a, b) == pytest.approx(found.mean())


def test_brightness_that_differs_between_chunks_does_not_matter():
    a = noise(0)
    b = a.copy()
    b[:32] += 1000
    assert cpc(a, b) == pytest.approx(1)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.1


def test_chunks_without_structure_or_with_unknown_pixels_are_left_out():
    a, b = noise(0), noise(1)
    expected = chunk_correlations(a, b)[2:]
    a[0, 0], b[:32, 32:64] = np.nan, 3
    assert chunk_correlations(a, b) == pytest.approx(expected)
    assert np.isnan(cpc(np.full_like(a, np.nan), b))


def test_sections_smaller_than_a_chunk_are_one():
    assert chunk_correlations(noise(0, (5, 70)), noise(1, (5, 70))).shape == (2,)


def test_jitter_lowers_it_and_a_stack_is_the_mean_of_its_pairs():
    straight = Phantom(shape=(4, 64, 64)).volume().data
    jittered = Phantom(shape=(4, 64, 64), jitter=2.0).volume().data
    assert stack_cpc(straight) > stack_cpc(jittered) + 0.05
    pairs = [cpc(straight[z], straight[z + 1]) for z in range(3)]
    assert stack_cpc(straight) == pytest.approx(np.mean(pairs))
    assert np.isnan(stack_cpc(straight[:1]))


def test_shapes_must_be_equal():
    with pytest.raises(InputError, match=r"\(64, 96\) and \(64, 64\)"):
        cpc(noise(0), noise(0, (64, 64)))
