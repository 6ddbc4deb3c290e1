"""Laws of moved volumes: identity, exact shifts, labels, what is empty, numpy = dask, crop = whole."""

import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields import Displacement, inverse, moved, outside
from napari_emsynth.fields.apply import Draw, by
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.spec import CancelToken, Result, Runtime
from napari_emsynth.volume import Volume

SHAPE = (3, 80, 90)
DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    ">u2",
]


def image(dtype="uint8", shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(0, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)


def smooth(shape=SHAPE):
    """A float image without anything finer than 12 px."""
    y, x = np.mgrid[: shape[1], : shape[2]]
    waves = np.sin(2 * np.pi * (y / 17 + x / 31)) + np.cos(2 * np.pi * (y / 23 - x / 13))
    return np.repeat((100 + 20 * waves)[None], shape[0], axis=0).astype(np.float32)


def warp(shape=SHAPE, seed=0, step=None):
    rng = np.random.default_rng(seed)
    kind = Distortion(shift_px=2, rotation_deg=0.5, warp_px=1.5, wavelength_px=24)
    data = np.stack([kind.draw(rng, shape[1:]) for _ in range(shape[0])])
    return Displacement(data if step is None else data[:, :, step // 2 :: step, step // 2 :: step], shape)


def shift(dy, dx, shape=SHAPE):
    field = Displacement.zero(shape, step=16)
    field.data[:, 0], field.data[:, 1] = dy, dx
    return field


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["cubic", "linear", "nearest"])
def test_a_zero_field_changes_no_bit(dtype, how):
    source = image(dtype)
    out = moved(Volume.of(source), Displacement.zero(SHAPE, 16), how)
    assert out.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(out.data, source)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["cubic", "linear", "nearest"])
def test_whole_pixels_are_shifted_exactly_and_the_rest_is_empty(dtype, how):
    source = image(dtype)
    volume, field = Volume.of(source), shift(3, -5)
    out = moved(volume, field, how).data
    assert np.array_equal(out[:, :-3, 5:], source[:, 3:, :-5])
    empty = np.ones(SHAPE, bool)
    empty[:, :-3, 5:] = False
    left = out[empty]
    assert np.isnan(left).all() if out.dtype.kind == "f" else not left.any()
    assert np.array_equal(outside(field, volume).data, empty.astype(np.uint8))


def test_constant_in_is_constant_out():
    for how in ("cubic", "linear"):
        out = moved(Volume.of(np.full(SHAPE, 37.5, np.float32)), warp(), how).data
        np.testing.assert_allclose(out[np.isfinite(out)], 37.5, rtol=1e-6)


def test_between_pixels_an_image_is_what_it_was():
    field = warp()
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    u = field.dense(0)
    waves = lambda y, x: np.sin(2 * np.pi * (y / 17 + x / 31)) + np.cos(2 * np.pi * (y / 23 - x / 13))  # noqa: E731
    want = 100 + 20 * waves(y + u[0], x + u[1])
    inner = np.s_[10:-10, 10:-10]
    for how, error in (("cubic", 0.02), ("linear", 1.5)):
        assert np.abs(moved(Volume.of(smooth()), field, how).data[0] - want)[inner].max() < error


def test_there_and_back_is_where_it_was():
    volume, field = Volume.of(smooth()), warp()
    back = moved(moved(volume, field), inverse(field)).data
    inner = np.s_[:, 14:-14, 14:-14]
    np.testing.assert_allclose(back[inner], volume.data[inner], atol=0.1)


@pytest.mark.parametrize("dtype", ["uint8", "uint32", "uint64", "int16", "bool"])
def test_labels_keep_their_ids_and_get_no_new_ones(dtype):
    top = 2 if dtype == "bool" else min(np.iinfo(dtype).max, 2**62)
    ids = np.random.default_rng(0).integers(1, top, (10, 10)).astype(dtype)
    labels = np.repeat(np.kron(ids, np.ones((8, 9), int).astype(dtype))[None], 3, axis=0)
    out = moved(Volume.of(labels), warp()).data  # integers and booleans: nearest without being told
    assert out.dtype == labels.dtype
    assert set(np.unique(out)) <= set(np.unique(labels)) | {0}
    full = moved(Volume.of(labels.astype(float)), warp(), "nearest").data
    seen = np.isfinite(full)
    assert np.array_equal(out.astype(float)[seen], full[seen])
    assert not out[~seen].any()


@pytest.mark.parametrize(("dy", "rows"), [(0.4, 0), (0.6, 1), (-0.4, 0), (-0.6, -1), (2.75, 3)])
def test_labels_come_from_the_nearest_pixel(dy, rows):
    volume = Volume.of(image("uint16"))
    inner = np.s_[:, 4:-4]
    want = np.roll(volume.data, -rows, axis=1)
    assert np.array_equal(moved(volume, shift(dy, 0), "nearest").data[inner], want[inner])


def test_floats_are_drawn_cubic_without_being_told():
    volume = Volume.of(smooth())
    assert np.array_equal(moved(volume, warp()).data, moved(volume, warp(), "cubic").data, equal_nan=True)


@pytest.mark.parametrize("how", ["cubic", "linear", "nearest"])
@pytest.mark.parametrize("step", [None, 8])
def test_any_box_equals_the_box_of_the_whole_bit_by_bit(how, step):
    volume = Volume.of(image("float32"))
    draw = Draw(volume, warp(step=step), how)
    whole = draw((slice(0, 3), slice(0, 80), slice(0, 90)), Runtime())
    for box in [
        (slice(1, 2), slice(30, 41), slice(50, 90)),
        (slice(0, 3), slice(79, 80), slice(0, 1)),
        (slice(2, 3), slice(0, 50), slice(17, 60)),
    ]:
        assert np.array_equal(draw(box, Runtime()), whole[box], equal_nan=True)


@pytest.mark.parametrize("kind", ["dask", "zarr", "memmap"])
@pytest.mark.parametrize("how", ["cubic", "nearest"])
def test_lazy_in_is_lazy_out_and_the_same(kind, how, tmp_path):
    shape = (5, 600, 530)
    source, field = image("uint16", shape), warp(shape)
    if kind == "dask":
        lazy = da.from_array(source, chunks=(2, 200, 300))
    elif kind == "zarr":
        lazy = zarr.create_array(str(tmp_path / "a.zarr"), data=source, chunks=(4, 128, 128))
    else:
        lazy = np.memmap(tmp_path / "a.raw", np.uint16, "w+", shape=shape)
        lazy[:] = source
    volume = Volume.of(lazy)
    out, mask = moved(volume, field, how), outside(field, volume)
    assert out.data.chunks == mask.data.chunks
    assert len(out.data.chunks[1]) > 1
    assert np.array_equal(out.read(slice(None)), moved(Volume.of(source), field, how).data)
    assert np.array_equal(mask.read(slice(None)), outside(field, Volume.of(source)).data)


def test_a_lazy_block_reads_no_more_than_it_must():
    read = []

    class Source:
        shape, dtype, ndim = (8, 4000, 4000), np.dtype(np.uint8), 3

        def __getitem__(self, key):
            read.append(tuple((s.start, s.stop) for s in key))
            return np.zeros([s.stop - s.start for s in key], np.uint8)

    volume = Volume.of(Source())
    field = shift(700, -300, Source.shape)
    moved(volume, field, "cubic").data[3, 1024:1030, 1024:1030].compute(scheduler="synchronous")
    ((z, y, x),) = read
    assert z == (3, 4)
    assert 1024 + 700 - 20 < y[0] < y[1] < 1536 + 700 + 20
    assert 1024 - 300 - 20 < x[0] < x[1] < 1536 - 300 + 20


def test_unknown_pixels_stay_unknown_and_do_not_spread():
    source = smooth()
    source[1, 30:50, 40:60] = np.nan
    source[0] = np.nan
    out = moved(Volume.of(source), shift(0.5, 0.25)).data
    clean = moved(Volume.of(smooth()), shift(0.5, 0.25)).data
    assert np.isnan(out[0]).all()
    assert np.isnan(out[1, 31:48, 41:58]).all()
    known = np.ones((80, 90), bool)
    known[29:50, 39:60] = False
    assert np.array_equal(np.isnan(out[1][known]), np.isnan(clean[1][known]))
    far = np.ones((80, 90), bool)
    far[20:60, 30:70] = False
    np.testing.assert_allclose(out[1][far], clean[1][far], atol=1e-3)


def test_what_is_made_up_is_what_comes_from_outside_by_more_than_half_a_pixel():
    volume = Volume.of(image())
    assert not outside(shift(-0.5, 0.5), volume).data.any()
    out = moved(volume, shift(-0.4, 0), "cubic").data
    assert np.array_equal(out[:, 0], volume.data[:, 0])  # the outer pixel's outer half is that pixel
    assert outside(shift(-0.75, 0), volume).data[:, 0].all()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_sections_of_hardly_a_pixel_are_moved_too(length):
    volume = Volume.of(image("uint8", (2, length, 9)))
    field = Displacement.zero(volume.shape)
    field.data[:, 0] = 0.3
    assert moved(volume, field, "cubic").shape == volume.shape
    field.data[:] = 1e30
    assert outside(field, volume).data.all()
    assert not moved(volume, field, "cubic").data.any()


def test_a_job_travels_to_another_process():
    draw = Draw(Volume.of(image()), warp(step=8), "cubic")
    box = (slice(0, 1), slice(5, 30), slice(5, 30))
    assert np.array_equal(pickle.loads(pickle.dumps(draw))(box, Runtime()), draw(box, Runtime()))


def test_moving_tells_how_far_it_is_and_can_be_cancelled():
    told, token = [], CancelToken()
    moved(Volume.of(image()), warp(), "cubic", Runtime(progress=lambda *said: told.append(said)))
    assert told[0][:2] == (0, 3)
    assert told[-1][:2] == (3, 3)
    token.cancel()
    with pytest.raises(Cancelled):
        moved(Volume.of(image()), warp(), "cubic", Runtime(cancel=token))


def test_the_input_is_never_written_to():
    source = image()
    source.setflags(write=False)
    moved(Volume.of(source), warp(), "cubic")


def test_a_field_of_another_volume_and_an_unknown_interpolation_are_refused():
    volume = Volume.of(image(), name="mito")
    with pytest.raises(InputError, match=r"for \(3, 40, 45\) voxels .* the volume mito has \(3, 80, 90\)"):
        moved(volume, Displacement.zero((3, 40, 45)))
    with pytest.raises(InputError, match="'lanczos' is not one of cubic, linear, nearest"):
        moved(volume, Displacement.zero(SHAPE), "lanczos")


def aligned(volume, field):
    record = {"task": "align", "method": "stand-in"}
    made = Result(volume=moved(volume, field, "cubic"), synthetic=outside(field, volume), provenance=record)
    return by(made, field)


def test_a_result_moves_what_belongs_to_its_volume():
    labels = (image() // 64).astype(np.uint16)
    result = aligned(Volume.of(image()), warp())
    plain = result.apply(labels)
    assert isinstance(plain, np.ndarray)
    assert np.array_equal(plain, moved(Volume.of(labels), warp(), "nearest").data)
    lazy = result.apply(da.from_array(labels, chunks=(1, 40, 45)))
    assert isinstance(lazy, da.Array)
    assert np.array_equal(lazy.compute(), plain)
    volume = result.apply(Volume.of(labels, voxel_nm=(30, 4, 4), name="cells"))
    assert volume.grid.voxel_nm == (30, 4, 4)
    assert np.array_equal(volume.data, plain)
    assert volume.record["method"] == "stand-in"
    assert volume.record["carried"] == {"name": "cells", "dtype": "uint16", "interpolation": "nearest"}
    assert np.array_equal(result.apply(image(), "cubic"), result.volume.data)


def test_a_result_moves_nothing_of_another_shape_and_nothing_without_a_displacement():
    volume = Volume.of(image())
    result = aligned(volume, warp())
    with pytest.raises(InputError, match=r"for \(3, 80, 90\) voxels .* has \(3, 40, 45\)"):
        result.apply(np.zeros((3, 40, 45), np.uint8))
    with pytest.raises(InputError, match="stand-in has no displacement"):
        replace(result, displacement=None, along=None).apply(volume)
