"""The natural look of upsampled volumes: as sharp as tissue, what was acquired untouched, slab means kept."""

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_emsynth as es
from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.metrics.spectrum import mid_band_ratio


@pytest.fixture(scope="module")
def tissue():
    """[z, y, x] uint8, alike in all directions, with detail that no section tells of another."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(64, 96, 96)), 1.5)
    return np.clip(128 + 35 * smooth / smooth.std() + 6 * rng.normal(size=smooth.shape), 0, 255).astype(np.uint8)


def thick(tissue, factor, sampling):
    return degraded(tissue.astype(np.float32), factor, sampling).round().astype(np.uint8)


def drawn(stack, factor, sampling, look, **options):
    return es.upsample(stack, factor, sampling=sampling, method="kriging", look=look, selfcheck=False, **options)


def sharpness(result, tissue, sections):
    found = np.asarray(result.volume.data)
    return np.mean([mid_band_ratio(found[j].astype(float), tissue[j].astype(float)) for j in sections])


@pytest.mark.parametrize(("factor", "sampling"), [(2, "point"), (4, "point"), (4, "slab")])
def test_new_sections_come_nearer_to_the_sharpness_of_tissue(tissue, factor, sampling):
    stack = thick(tissue, factor, sampling)
    sections = [j for j in range(8, 52) if sampling == "slab" or j % factor]
    soft, natural = (
        sharpness(drawn(stack, factor, sampling, look), tissue, sections) for look in ("accurate", "natural")
    )
    assert soft < natural
    assert abs(1 - natural) < abs(1 - soft)


def test_acquired_sections_stay_bit_identical_and_the_record_says_who_lent(tissue):
    stack = thick(tissue, 4, "point")
    result = drawn(stack, 4, "point", "natural")
    np.testing.assert_array_equal(result.volume.data[::4], stack)
    assert result.provenance["look"] == "natural"
    looks = {entry["section"]: entry["look"] for entry in result.provenance["sections"]}
    assert (looks[5]["borrowed_from"], looks[7]["borrowed_from"]) == (1, 2)
    assert looks[5]["gain"] > 1


def test_slab_means_stay_and_nothing_is_borrowed(tissue):
    stack = thick(tissue, 4, "slab")
    result = drawn(stack, 4, "slab", "natural")
    means = result.volume.data.reshape(-1, 4, 96, 96).astype(float).mean(axis=1)
    np.testing.assert_array_equal(np.rint(means), stack)
    look = result.provenance["sections"][0]["look"]
    assert set(look) == {"within"}
    assert look["within"] > 1


def test_the_interval_stays_that_of_the_mean(tissue):
    stack = thick(tissue, 4, "point")
    soft, natural = (drawn(stack, 4, "point", look) for look in ("accurate", "natural"))
    np.testing.assert_array_equal(soft.uncertainty.data, natural.uncertainty.data)


@pytest.mark.parametrize("sampling", ["point", "slab"])
def test_lazy_is_eager(tissue, sampling):
    stack = thick(tissue, 4, sampling)
    lazy = drawn(da.from_array(stack, chunks=(4, 48, 48)), 4, sampling, "natural").volume.data
    part = np.asarray(lazy[10:14, 20:60, 30:70])
    eager = drawn(stack, 4, sampling, "natural").volume.data[10:14, 20:60, 30:70]
    assert np.abs(part.astype(int) - eager).max() <= 1


def test_sections_too_small_to_be_measured_stay_accurate_and_it_is_said(tissue):
    stack = thick(tissue, 4, "point")[:, :40, :40]
    result = drawn(stack, 4, "point", "natural")
    assert any("no natural look" in line and "64 x 64 px" in line for line in result.provenance["notices"])
    np.testing.assert_array_equal(result.volume.data, drawn(stack, 4, "point", "accurate").volume.data)


def test_constant_volumes_stay_constant():
    stack = np.full((4, 80, 80), 90, np.uint8)
    assert (drawn(stack, 2, "point", "natural").volume.data == 90).all()


def test_an_unknown_look_is_refused(tissue):
    with pytest.raises(InputError, match="look 'sharp' is not one of accurate, natural"):
        drawn(thick(tissue, 4, "point"), 4, "point", "sharp")
