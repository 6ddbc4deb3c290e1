"""Laws of voxel types, and of what marks a voxel."""

import dask.array as da
import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.chain import marked, mask
from napari_emsynth.volume import Volume, canonical


@pytest.mark.parametrize("code", [*"?bBhHiIlLqQefd", ">q", ">u8", ">f4"])
def test_one_type_stands_for_all_of_a_kind_and_size(code):
    given = np.dtype(code)
    there = canonical(given)
    assert (there.kind, there.itemsize) == (given.kind, given.itemsize)
    assert there.isnative
    same = np.dtype(f"{given.kind}{given.itemsize}")
    assert (there.char, there.num, there.str) == (same.char, same.num, same.str)
    assert canonical(there) is there or canonical(there) == there
    assert Volume.of(np.zeros((1, 2, 3), given)).dtype.num == there.num


@pytest.mark.parametrize("code", ["q", "Q", ">u8", "e", "?"])
def test_every_name_of_a_type_is_written(tmp_path, code):
    data = np.arange(24).reshape(2, 3, 4).astype(code)
    es.write(Volume.of(data), tmp_path / "a.zarr")
    back = es.read(tmp_path / "a.zarr")
    assert back.dtype == canonical(code)
    np.testing.assert_array_equal(back.read(slice(None)), data)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_no_number_marks_nothing(dtype):
    marks = np.array([[[0, -0.0, np.nan, 1, -2, np.inf, 0.25]]], dtype)
    expected = [[[False, False, False, True, True, True, True]]]
    assert marked(marks).tolist() == expected
    assert marked(da.from_array(marks)).compute().tolist() == expected
    assert mask(marks, marks).tolist() == np.array(expected, "u1").tolist()


def test_a_mask_of_floats_replaces_only_where_it_has_a_number():
    data = np.random.default_rng(0).integers(0, 255, (9, 96, 96)).astype("u1")
    marks = np.full(data.shape, np.nan, "f4")
    marks[4, 20:40, 30:60] = 1
    made = es.interpolate(data, mask=marks, method="linear", selfcheck=False)
    assert (made.synthetic.data == (marks == 1)).all()
    np.testing.assert_array_equal(made.volume.data[marks != 1], data[marks != 1])
