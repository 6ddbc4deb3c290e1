"""The natural look of a repair: what it may change, what the record says of it, and where there is none."""

import json

import dask.array as da
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.metrics.spectrum import mid_band_ratio

EDGE, GONE = 96, 10


@pytest.fixture(scope="module")
def stack():
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal((24, EDGE, EDGE)), (1.5, 1.2, 1.2))
    noisy = 128 + 35 * field / field.std() + 6 * rng.standard_normal(field.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def repaired(stack, look="natural", seed=0, **options):
    from napari_emsynth.spec import Runtime

    given = {"sections": [GONE], "method": "fitted", **options}
    return interpolate(stack, look=look, runtime=Runtime(device="cpu", seed=seed), **given)


def sharpness(result, stack):
    return mid_band_ratio(np.asarray(result.volume.data[GONE]), stack[GONE])


@pytest.mark.parametrize("method", ["fitted", "linear", "emsynth"])
def test_any_method_gets_nearer_to_the_sharpness_of_tissue(stack, method):
    soft, sharp = (sharpness(repaired(stack, look, method=method), stack) for look in ("accurate", "natural"))
    assert abs(np.log(sharp)) < abs(np.log(soft)) + 0.05
    assert 0.75 <= sharp <= 1.2


def test_nothing_else_changes_and_the_interval_is_that_of_the_mean(stack):
    plain, natural = repaired(stack, "accurate"), repaired(stack)
    others = [z for z in range(len(stack)) if z != GONE]
    assert (natural.volume.data[others] == stack[others]).all()
    assert (natural.volume.data[GONE] != plain.volume.data[GONE]).any()
    np.testing.assert_array_equal(natural.uncertainty.data, plain.uncertainty.data)
    np.testing.assert_array_equal(natural.synthetic.data, plain.synthetic.data)


def test_the_record_names_the_lender_and_the_seed_chooses_it(stack):
    lenders = set()
    for seed in range(6):
        record = json.loads(json.dumps(repaired(stack, seed=seed, selfcheck=False).provenance))
        (entry,) = record["sections"]
        assert record["look"] == "natural"
        assert set(entry["look"]) == {"borrowed_from", "gain", "grain"}
        lenders.add(entry["look"]["borrowed_from"])
    assert len(lenders) > 1
    assert lenders <= {8, 9, 11, 12}
    assert repaired(stack, "accurate").provenance["sections"][0]["look"] is None


def test_equal_seeds_give_equal_sections_and_others_other_samples(stack):
    one, same = (repaired(stack, seed=1).volume.data[GONE] for _ in range(2))
    assert (one == same).all()
    assert any((repaired(stack, seed=seed).volume.data[GONE] != one).any() for seed in (2, 3, 4))


def test_with_a_mask_only_masked_voxels_change(stack):
    mask = np.zeros(stack.shape, np.uint8)
    mask[GONE, 20:60, 30:70] = 1
    result = repaired(stack, sections=None, mask=mask)
    assert (result.volume.data[mask == 0] == stack[mask == 0]).all()
    assert (result.volume.data[mask > 0] != stack[mask > 0]).any()


def test_lazy_equals_eager(stack):
    lazy = repaired(da.from_array(stack, chunks=(1, 40, 50)))
    np.testing.assert_array_equal(lazy.volume.data[GONE].compute(), repaired(stack).volume.data[GONE])


def test_steps_of_brightness_are_no_sharpness(stack):
    stepped = stack.astype(np.float32)
    stepped[::2] *= 2
    plain, look = (repaired(data).provenance["sections"][0]["look"] for data in (stack.astype(np.float32), stepped))
    assert look["gain"] == pytest.approx(plain["gain"], abs=0.05)


def test_without_intact_sections_to_measure_on_the_mean_is_given_and_said(stack):
    for data in (stack[:3], stack[:, :50, :50]):
        result = repaired(data, sections=[1])
        assert result.provenance["sections"][0]["look"] is None
        assert sum("no natural look for section 1" in line for line in result.provenance["notices"]) == 1


def test_an_unknown_look_is_refused(stack):
    with pytest.raises(InputError, match="look 'pretty' is not one of accurate, natural"):
        repaired(stack, "pretty")
