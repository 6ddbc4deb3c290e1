"""Laws of one field: what lies between its nodes, its crops, its size, its limit."""

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.fields import Displacement
from napari_emsynth.fields.lattice import node_places

SHAPE = (3, 57, 74)
VOXEL = (30.0, 4.0, 8.0)


def drawn(nodes=(6, 9), shape=SHAPE, scale=3.0, seed=0, **more):
    data = np.random.default_rng(seed).normal(0, scale, (shape[0], 2, *nodes)).astype(np.float32)
    return Displacement(data, shape, **more)


def linear(y, x):
    """Shift and rotation with stretch: dy and dx, each linear."""
    return np.stack([2.0 + 0.02 * y - 0.03 * x, -5.0 + 0.01 * y + 0.04 * x])


def test_zero_moves_nothing():
    field = Displacement.zero(SHAPE, step=16)
    assert field.nodes == (4, 5)
    assert not field.dense(1).any()
    assert not field.largest_px().any()


def test_a_linear_field_comes_out_exactly_up_to_the_edges():
    y, x = (node_places(n, length) for n, length in zip((5, 7), SHAPE[1:], strict=True))
    data = np.repeat(linear(y[:, None], x[None, :])[None], 3, axis=0).astype(np.float32)
    field = Displacement(data, SHAPE)
    want = linear(np.arange(57.0)[:, None], np.arange(74.0)[None, :])
    np.testing.assert_allclose(field.dense(2), want, atol=1e-5)


def test_nodes_are_met_and_dense_fields_are_kept_as_they_are():
    field = drawn((19, 37), (3, 57, 74))  # every third row and every second column holds a node
    np.testing.assert_allclose(field.dense(1)[:, 1::3], drawn((19, 37)).dense(1)[:, 1::3])
    y, x = (node_places(n, length) for n, length in zip((19, 37), SHAPE[1:], strict=True))
    at = field.at(1, np.repeat(y, 37), np.tile(x, 19)).reshape(2, 19, 37)
    np.testing.assert_allclose(at, field.data[1], atol=1e-5)
    dense = drawn((57, 74))
    assert np.array_equal(dense.dense(0), dense.data[0])


@pytest.mark.parametrize("nodes", [(1, 1), (2, 3), (6, 9), (57, 74)])
def test_any_crop_equals_the_crop_of_the_whole_bit_by_bit(nodes):
    field = drawn(nodes)
    whole = field.dense(1)
    for y, x in [(slice(0, 57), slice(3, 4)), (slice(50, 57), slice(60, 74)), (slice(11, 30), slice(0, 5))]:
        assert np.array_equal(field.dense(1, y, x), whole[:, y, x])


@pytest.mark.parametrize("nodes", [(6, 9), (57, 74)])
def test_places_between_pixels_agree_with_pixels(nodes):
    field = drawn(nodes)
    y, x = np.array([0.0, 7.0, 56.0, 30.0]), np.array([73.0, 0.0, 73.0, 20.0])
    np.testing.assert_allclose(field.at(1, y, x), field.dense(1)[:, y.astype(int), x.astype(int)], atol=1e-4)
    far = field.at(1, np.array([-100.0]), np.array([900.0]))
    np.testing.assert_allclose(far, field.at(1, np.array([-0.5]), np.array([73.5])))


@pytest.mark.parametrize("nodes", [(1, 1), (2, 3), (12, 15), (57, 74)])
@pytest.mark.parametrize("limit", [None, 20.0])
def test_bounds_hold_in_every_window(nodes, limit):
    field = drawn(nodes, voxel_nm=VOXEL)
    field = Displacement(field.data + 40.0, SHAPE, VOXEL, limit)
    for y, x in [(slice(0, 57), slice(0, 74)), (slice(20, 31), slice(40, 45)), (slice(56, 57), slice(0, 9))]:
        low, high = field.reach(1, y, x)
        u = field.dense(1, y, x)
        assert (u >= low[:, None, None] - 1e-4).all()
        assert (u <= high[:, None, None] + 1e-4).all()


def test_a_field_of_a_binned_copy_serves_the_full_size():
    shape, small = (2, 64, 96), (2, 16, 32)
    y, x = (node_places(n, length) for n, length in zip((4, 4), small[1:], strict=True))
    data = np.repeat(linear(y[:, None], x[None, :])[None], 2, axis=0).astype(np.float32)
    full = Displacement(data, small, (30.0, 16.0, 12.0)).resized(shape)
    assert full.voxel_nm == (30.0, 4.0, 4.0)
    # Pixel (y, x) of the full size lies at ((y + 0.5) / 4 - 0.5, (x + 0.5) / 3 - 0.5) of the binned copy.
    seen = linear((np.arange(64.0)[:, None] + 0.5) / 4 - 0.5, (np.arange(96.0)[None, :] + 0.5) / 3 - 0.5)
    np.testing.assert_allclose(full.dense(0), seen * np.array([4, 3])[:, None, None], atol=1e-4)
    back = full.resized(small)
    np.testing.assert_allclose(back.data, data, rtol=1e-6)
    assert back.voxel_nm == pytest.approx((30.0, 16.0, 12.0))


def test_fewer_pixels_than_nodes_leave_as_many_nodes_as_pixels():
    small = drawn((57, 74)).resized((3, 20, 30))
    assert small.nodes == (20, 30)


def test_no_vector_is_longer_than_the_limit():
    field = drawn((6, 9), scale=20.0, voxel_nm=VOXEL)
    short = field.limited(50.0)
    y, x = np.random.default_rng(0).uniform(0, 57, (2, 500))
    for found in (short.dense(1), short.at(1, y, x), short.data[1]):
        assert np.hypot(found[0] * 4.0, found[1] * 8.0).max() <= 50.0
    long, dense = field.dense(1), short.dense(1)
    near = np.hypot(field.data[1][0] * 4.0, field.data[1][1] * 8.0) <= 50.0
    assert near.any()
    assert np.array_equal(short.data[1][:, near], field.data[1][:, near])
    same = long[0] * dense[1] - long[1] * dense[0]  # the direction is kept, at the nodes at least
    assert np.isfinite(same).all()
    assert short.limited(80.0).limit_nm == 50.0
    assert np.hypot(*(short.resized((3, 171, 222)).dense(1) * np.array([4 / 3, 8 / 3])[:, None, None])).max() <= 50.0


def test_lazy_nodes_give_the_same_and_stay_lazy():
    field = drawn(voxel_nm=VOXEL, scale=20)
    lazy = Displacement(da.from_array(field.data, chunks=(1, 2, 3, 4)), SHAPE, VOXEL)
    assert lazy.is_lazy
    assert np.array_equal(lazy.dense(2), field.dense(2))
    for a, b in [(lazy.limited(30), field.limited(30)), (lazy.resized((3, 114, 148)), field.resized((3, 114, 148)))]:
        assert a.is_lazy
        assert np.array_equal(a.dense(1), b.dense(1))
        assert np.array_equal(a.largest_px(), b.largest_px())


BAD = [
    ((3, 57, 74), np.zeros((3, 57, 74)), "not z, 2"),
    ((3, 57, 74), np.zeros((3, 3, 4, 4)), "not z, 2"),
    ((3, 57, 74), np.zeros((4, 2, 4, 4)), "4 sections, the volume 3"),
    ((3, 57, 74), np.zeros((3, 2, 58, 4)), "58 x 4 nodes, the volume's sections 57 x 74 px"),
]


@pytest.mark.parametrize(("shape", "data", "said"), BAD, ids=[said for *_, said in BAD])
def test_what_is_no_field_of_the_volume_is_refused(shape, data, said):
    with pytest.raises(InputError, match=said):
        Displacement(data, shape)


@pytest.mark.parametrize("nm", [0.0, -3.0, float("nan")])
def test_a_limit_that_means_nothing_is_refused(nm):
    with pytest.raises(InputError, match="limit of 0 nm"):
        drawn(voxel_nm=VOXEL).limited(nm)


def test_a_limit_needs_the_voxel_size():
    with pytest.raises(InputError, match="needs the voxel size"):
        drawn().limited(20.0)
