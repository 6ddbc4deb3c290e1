"""Labels: every id of every level is one of level 0, whatever its type and size."""

import dask.array as da
import numpy as np
import pytest
import zarr

import napari_emsynth as es
from napari_emsynth import io
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.export import Output, carried, export
from napari_emsynth.io.zarr.levels import most_common
from napari_emsynth.methods.align.stack.carry import through
from napari_emsynth.volume import Volume

TYPES = ("u1", "i2", "u4", "i8", "u8", ">i8", ">u8", "q", "Q")
SHAPE = (2, 520, 260)


def ids(dtype, shape=SHAPE):
    """Patches of ids at the ends of the type, where float64 cannot tell them apart."""
    info = np.iinfo(np.dtype(dtype).newbyteorder("="))
    few = np.array([0, info.max, info.max - 1, info.max - 2, info.min, 7], np.dtype(dtype).newbyteorder("="))
    coarse = [shape[0], shape[1] // 3 + 1, shape[2] // 3 + 1]
    patches = np.random.default_rng(0).integers(0, len(few), coarse)
    return few[patches.repeat(3, 1).repeat(3, 2)[:, : shape[1], : shape[2]]].astype(dtype)


def levels_of(path):
    root = zarr.open(path, mode="r")
    return [root[s["path"]][:] for s in root.attrs["ome"]["multiscales"][0]["datasets"]]


def check_levels(path, data):
    full, *coarser = levels_of(path)
    np.testing.assert_array_equal(full, data)
    assert coarser
    for level in coarser:
        assert set(np.unique(level).tolist()) <= set(np.unique(data).tolist())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("lazy", [False, True])
def test_no_level_has_a_new_id(tmp_path, dtype, lazy):
    data = ids(dtype)
    array = da.from_array(data, chunks=(1, 260, 260)) if lazy else data
    io.write(Volume.of(array, labels=True), tmp_path / "out.zarr")
    check_levels(tmp_path / "out.zarr", data)
    assert "image-label" in zarr.open(tmp_path / "out.zarr", mode="r").attrs["ome"]
    again = io.read(tmp_path / "out.zarr")
    assert again.labels
    io.write(again, tmp_path / "again.zarr")
    check_levels(tmp_path / "again.zarr", data)


def test_an_image_has_means(tmp_path):
    data = ids("u1")
    io.write(Volume.of(data), tmp_path / "out.zarr")
    assert set(np.unique(levels_of(tmp_path / "out.zarr")[1])) - set(np.unique(data))


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_means_stay_within_the_type(tmp_path, dtype):
    """The largest value has no float64 of its own; the next one above wraps around."""
    data = np.full(SHAPE, np.iinfo(dtype).max, dtype)
    io.write(Volume.of(data), tmp_path / "out.zarr")
    for level in levels_of(tmp_path / "out.zarr"):
        assert level.min() > np.iinfo(dtype).max * 0.999


def test_the_most_common_id_wins_and_the_first_of_equals():
    cells = np.array([[[[1, 2, 2, 3], [5, 4, 4, 5], [9, 9, 9, 9], [3, 2, 1, 0]]]], "u8")
    assert most_common(list(np.moveaxis(cells, -1, 0))).tolist() == [[[2, 5, 9, 3]]]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("lazy", [False, True])
def test_ids_survive_a_displacement(tmp_path, dtype, lazy):
    """A shift by whole pixels moves every id and makes none."""
    data = ids(dtype, (3, 280, 60))
    u = np.zeros((3, 2, 280, 60), "f4")
    u[1, 0], u[2, 1] = 3, -2
    stack = Volume.of(np.random.default_rng(1).integers(0, 255, data.shape).astype("u1"))
    moved = through(stack, Displacement(u, data.shape, None))
    labels = Volume.of(da.from_array(data, chunks=(1, 280, 60)) if lazy else data)
    export(moved, [Output(path=tmp_path / "l.zarr", volume=labels, interpolation="nearest")])
    found = es.read(tmp_path / "l.zarr").read(slice(None))
    np.testing.assert_array_equal(found[0], data[0])
    np.testing.assert_array_equal(found[1, :-3], data[1, 3:])
    np.testing.assert_array_equal(found[2, :, 2:], data[2, :, :-2])
    check_levels(tmp_path / "l.zarr", found)


@pytest.mark.parametrize("dtype", TYPES)
def test_ids_survive_upsampling(tmp_path, dtype):
    data = ids(dtype, (3, 280, 60))
    made = es.upsample(np.random.default_rng(1).integers(0, 255, data.shape).astype("u1"), factor=2, method="linear")
    along = carried(made, Volume.of(data))
    assert along.volume.labels
    export(made, [Output(path=tmp_path / "l.zarr", volume=Volume.of(data))])
    found = es.read(tmp_path / "l.zarr").read(slice(None))
    np.testing.assert_array_equal(found[::2], data)
    assert set(np.unique(found).tolist()) <= set(np.unique(data).tolist())
    check_levels(tmp_path / "l.zarr", found)
