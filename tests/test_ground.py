"""The ground floor: grids, volumes, parameters, normalisation, method descriptions."""

import math
from dataclasses import dataclass

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.grid import Grid, check_voxel_nm
from napari_emsynth.normalisation import Normalisation, robust_mean_std, to_dtype
from napari_emsynth.params import Params, param
from napari_emsynth.spec import CancelToken
from napari_emsynth.volume import Volume


@pytest.mark.parametrize(("factor", "sections"), [(1, 10), (2, 19), (3, 28), (2.5, 23), (1.1, 10)])
def test_point_upsampling_keeps_centres(factor, sections):
    grid = Grid(shape=(10, 4, 5), voxel_nm=(30, 5, 6), origin_nm=(7, 8, 9)).upsample_point(factor)
    assert grid.shape == (sections, 4, 5)
    assert grid.origin_nm == (7, 8, 9)
    assert grid.voxel_nm == pytest.approx((30 / factor, 5, 6))


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_slab_upsampling_keeps_edges(factor):
    before = Grid(shape=(10, 4, 5), voxel_nm=(30, 5, 6), origin_nm=(7, 8, 9))
    after = before.upsample_slab(factor)
    assert after.shape == (10 * factor, 4, 5)
    edge = [g.origin_nm[0] - g.voxel_nm[0] / 2 for g in (before, after)]
    far = [e + g.shape[0] * g.voxel_nm[0] for e, g in zip(edge, (before, after), strict=True)]
    assert edge[0] == pytest.approx(edge[1])
    assert far[0] == pytest.approx(far[1])


def test_lateral_upsampling_keeps_edges_and_z():
    before = Grid(shape=(10, 4, 5), voxel_nm=(30, 8, 16), origin_nm=(7, 0, 0))
    after = before.upsample_lateral(8)
    assert after.shape == (10, 32, 40)
    assert after.voxel_nm == pytest.approx((30, 1, 2))
    assert after.origin_nm == pytest.approx((7, -4 + 0.5, -8 + 1))


def test_inserting_sections_keeps_origin_and_voxel():
    grid = Grid(shape=(10, 4, 5), voxel_nm=(30, 5, 6), origin_nm=(7, 8, 9))
    assert grid.insert_sections(3) == Grid(shape=(13, 4, 5), voxel_nm=(30, 5, 6), origin_nm=(7, 8, 9))


@pytest.mark.parametrize(
    ("voxel", "words"),
    [
        ((0, 1, 1), "0 nm along z"),
        ((10, -4, 4), "-4 nm along y"),
        ((10, 4, math.nan), "nan nm along x"),
        ((1e9, 4, 4), r"1e\+09 nm along z"),
        ((10, 4), "2 numbers, needs 3"),
        (("a", 4, 4), "not three numbers"),
    ],
)
def test_nonsense_voxel_sizes_are_named(voxel, words):
    with pytest.raises(InputError, match=words):
        check_voxel_nm(voxel)


def test_unknown_voxel_size_is_refused_only_where_needed():
    grid = Grid(shape=(2, 2, 2))
    with pytest.raises(InputError, match="making it isotropic needs the voxel size"):
        grid.needs_voxel_nm("making it isotropic")


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4), (0, 4, 4)])
def test_shapes_that_are_no_volume(shape):
    with pytest.raises(InputError, match=r"axis|axes"):
        Volume.of(np.zeros(shape, np.uint8))


def test_complex_voxels_are_refused():
    with pytest.raises(InputError, match="complex64 are not real"):
        Volume.of(np.zeros((2, 2, 2), np.complex64))


@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=2)])
@pytest.mark.parametrize("dtype", ["u1", ">u2", ">i2", "<f4", ">f4"])
def test_reading_gives_native_order_and_equal_values(wrap, dtype):
    source = np.arange(60).reshape(3, 4, 5).astype(dtype)
    volume = Volume.of(wrap(source))
    block = volume.read(slice(1, 3), slice(0, 2))
    assert block.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(block, source[1:3, :2])
    np.testing.assert_array_equal(volume.section(2), source[2])


def test_a_volume_keeps_its_data_when_given_a_voxel_size():
    first = Volume.of(np.zeros((2, 3, 4), np.uint8), origin_nm=(1, 2, 3))
    second = Volume.of(first, voxel_nm=(30, 4, 4))
    assert second.data is first.data
    assert second.grid.voxel_nm == (30, 4, 4)
    assert second.grid.origin_nm == (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Example(Params):
    count: int = param(3, "how many", low=1, high=9)
    width: float = param(2.5, "how wide", unit="nm", low=0.0, step=0.1)
    kind: str = param("a", "which", choices=("a", "b"))
    fast: bool = param(False, "whether")


@given(st.integers(1, 9), st.floats(0, 1e6), st.sampled_from("ab"), st.booleans())
def test_params_round_trip_through_json(count, width, kind, fast):
    params = Example(count=count, width=width, kind=kind, fast=fast)
    assert Example.from_json(params.to_json()) == params


def test_params_take_whole_numbers_for_floats():
    assert Example(width=3).width == 3.0
    assert isinstance(Example(width=3).width, float)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "count = 0 is below the limit of 1"),
        ({"count": 10}, "count = 10 is above the limit of 9"),
        ({"width": -1.0}, "width = -1.0 nm is below the limit of 0 nm"),
        ({"width": math.inf}, "not a finite number"),
        ({"kind": "c"}, "not one of a, b"),
        ({"fast": 1}, "not a value of type bool"),
        ({"count": True}, "not a value of type int"),
        ({"size": 1}, "unknown parameter 'size'; known: count, fast, kind, width"),
    ],
)
def test_bad_params_never_exist(values, words):
    with pytest.raises(InputError, match=words):
        Example.from_json(values)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2"])
def test_normalisation_is_invertible_for_integers(dtype):
    rng = np.random.default_rng(0)
    info = np.iinfo(dtype)
    section = rng.integers(info.min, info.max, (40, 50), endpoint=True).astype(dtype)
    norm = Normalisation.of_section(section)
    np.testing.assert_array_equal(norm.inverse(norm.forward(section)), section)


def test_normalised_sections_have_zero_mean_and_unit_deviation():
    section = np.random.default_rng(1).normal(120, 15, (200, 200)).astype(np.float32)
    section[:10] = np.nan
    section[10, :100] = 1e6  # dirt: less than the outer percentile, must not move the statistics
    values = Normalisation.of_section(section).forward(section)
    inner = values[11:]
    assert abs(float(inner.mean())) < 0.02
    assert float(inner.std()) == pytest.approx(1, abs=0.05)
    assert (values[:10] == 0).all()


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constants_have_unit_deviation(value):
    assert robust_mean_std(np.full((9, 9), value, np.uint8)) == (value, 1.0)


def test_empty_statistics_are_neutral():
    assert robust_mean_std(np.full((3, 3), np.nan)) == (0.0, 1.0)


def test_inverse_rounds_and_clips():
    values = np.array([[-3.0, 0.4, 0.6, 254.6, 900.0]], np.float32)
    np.testing.assert_array_equal(to_dtype(values, np.dtype("u1")), [[0, 0, 1, 255, 255]])


def test_volume_statistics_stream_over_sections():
    data = np.random.default_rng(2).normal(50, 5, (6, 60, 60)).astype(np.float32)
    data[3:] += 20
    norm = Normalisation.of(Volume.of(da.from_array(data, chunks=(1, 60, 60))))
    assert norm.mean == pytest.approx(60, abs=0.5)
    assert norm.std == pytest.approx(math.hypot(5, 10), rel=0.05)


def test_cancel_token_raises_once_cancelled():
    token = CancelToken()
    token.check()
    token.cancel()
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.check()
