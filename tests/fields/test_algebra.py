"""Laws of combined fields: identity, inverse, order, associativity, folds."""

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.fields import Displacement, compose, inverse, jacobian, moved
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.volume import Volume

SHAPE = (2, 96, 112)
# An edge may bring in what lies beyond the section; laws of inverses hold away from it.
INNER = np.s_[:, :, 16:-16, 16:-16]


def warp(seed=0, size=2.0):
    rng = np.random.default_rng(seed)
    kind = Distortion(shift_px=2, rotation_deg=0.5, warp_px=size, wavelength_px=20)
    return Displacement(np.stack([kind.draw(rng, SHAPE[1:]) for _ in range(2)]), SHAPE)


def coarse(seed=0):
    data = np.random.default_rng(seed).normal(0, 1.5, (2, 2, 6, 7)).astype(np.float32)
    return Displacement(data, SHAPE)


def dense(field):
    return np.stack([field.dense(z) for z in range(2)])


@pytest.mark.parametrize("field", [warp(), coarse()], ids=["dense", "coarse"])
def test_a_field_composed_with_nothing_is_itself(field):
    nothing = Displacement.zero(SHAPE, step=32)
    np.testing.assert_allclose(dense(compose(field, nothing)), dense(field), atol=1e-5)
    np.testing.assert_allclose(dense(compose(nothing, field)), dense(field), atol=1e-5)


def test_a_field_and_its_inverse_cancel_in_both_orders():
    field = warp()
    back = inverse(field)
    for both in (compose(field, back), compose(back, field)):
        assert np.abs(dense(both)[INNER]).max() < 0.02
    np.testing.assert_allclose(dense(inverse(back))[INNER], dense(field)[INNER], atol=0.02)


def test_the_inverse_on_coarse_nodes_is_as_good_as_the_nodes_can_hold():
    field = coarse()
    assert inverse(field).nodes == (6, 7)
    assert np.abs(dense(compose(field, inverse(field)))[INNER]).max() < 0.3


def test_the_first_field_is_applied_first():
    shift, stretch = np.zeros((2, 2, 2, 96, 112), np.float32)
    shift[:, 0] = 5  # out(y, x) = in(y + 5, x)
    stretch[:, 0] = 0.25 * np.arange(96)[None, :, None]
    first, then = Displacement(shift, SHAPE), Displacement(stretch, SHAPE)
    np.testing.assert_allclose(dense(compose(first, then))[0, 0, 10, 10], 0.25 * 10 + 5)
    np.testing.assert_allclose(dense(compose(then, first))[0, 0, 10, 10], 0.25 * 15 + 5)


def test_composing_is_moving_twice():
    ramp = np.broadcast_to(np.arange(112.0, dtype=np.float32) + 3 * np.arange(96.0)[:, None], SHAPE)
    volume = Volume.of(np.ascontiguousarray(ramp, np.float32))
    first, then = warp(1, 1.0), warp(2, 1.0)
    twice = moved(moved(volume, first), then).data
    once = moved(volume, compose(first, then)).data
    np.testing.assert_allclose(once[INNER[1:]], twice[INNER[1:]], atol=0.02)


def test_composing_is_associative():
    a, b, c = warp(1, 1.0), warp(2, 1.0), warp(3, 1.0)
    left, right = compose(compose(a, b), c), compose(a, compose(b, c))
    np.testing.assert_allclose(dense(left)[INNER], dense(right)[INNER], atol=0.01)


def test_lazy_fields_combine_lazily_to_the_same():
    field, other = warp(), coarse()
    lazy = Displacement(da.from_array(field.data, chunks=(1, 2, 96, 112)), SHAPE)
    for a, b in [(inverse(lazy), inverse(field)), (compose(other, lazy), compose(other, field))]:
        assert a.is_lazy
        assert np.array_equal(dense(a), dense(b))


def test_the_jacobian_tells_stretch_and_folds():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    np.testing.assert_allclose(jacobian(np.zeros((2, 20, 30), np.float32)), 1)
    np.testing.assert_allclose(jacobian(np.stack([0.5 * y, -0.25 * x])), 1.5 * 0.75)
    np.testing.assert_allclose(jacobian(np.stack([0.3 * x, -0.3 * y])), 1 + 0.09, rtol=1e-6)
    assert (jacobian(np.stack([-2 * y, 0 * x])) < 0).all()


def test_fields_of_other_volumes_are_not_composed():
    with pytest.raises(InputError, match=r"\(2, 96, 112\) and \(2, 48, 56\)"):
        compose(warp(), Displacement.zero((2, 48, 56)))
