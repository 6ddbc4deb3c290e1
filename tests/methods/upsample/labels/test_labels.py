"""Labels upsampled along z: what they keep, alone and beside an upsampled image."""

import pickle

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.upsample.labels import labels as module
from napari_emsynth.methods.upsample.labels.labels import Drawn, upsample_labels
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.methods.upsample.task import upsample
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume

COUNT, HEIGHT, WIDTH = 6, 48, 64


def cells(count=COUNT, dtype=np.uint32):
    """Ids that drift and come and go along z, between background."""
    rng = np.random.default_rng(4)
    z, y, x = np.mgrid[:count, :HEIGHT, :WIDTH]
    out = np.zeros(z.shape, dtype)
    for id_, (row, column, dy, dx, first) in enumerate(rng.uniform((0, 0, -3, -3, -4), (48, 64, 3, 3, 4), (20, 5)), 3):
        inside = np.hypot(y - row - dy * z, x - column - dx * z) < 7
        out[inside & (z >= first) & (z < first + 5)] = id_
    return out


LABELS = cells()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_acquired_sections_come_back_under_point_sampling(factor):
    out = upsample_labels(LABELS, factor)
    assert out.shape == ((COUNT - 1) * factor + 1, HEIGHT, WIDTH)
    assert out.dtype == LABELS.dtype
    assert (out[::factor] == LABELS).all()
    assert set(np.unique(out)) <= set(np.unique(LABELS))


def test_slabs_have_the_labels_of_their_centre_and_the_outer_halves_repeat():
    out = upsample_labels(LABELS, 5, "slab")
    assert len(out) == 5 * COUNT
    assert (out[2::5] == LABELS).all()
    assert (out[:2] == LABELS[0]).all()
    assert (out[-2:] == LABELS[-1]).all()


@pytest.mark.parametrize(("sampling", "sections"), [("point", 13), ("slab", 15)])
def test_fractional_factors_are_the_lattice_of_the_image(sampling, sections):
    image = np.random.default_rng(0).integers(0, 255, LABELS.shape, np.uint8)
    result = upsample(Volume.of(image, voxel_nm=(25, 10, 10)), 2.5, sampling=sampling, method="linear", selfcheck=False)
    out = result.apply(Volume.of(LABELS, voxel_nm=(25, 10, 10), name="cells"))
    assert out.shape == result.volume.shape
    assert len(out.data) == sections
    assert out.grid == result.volume.grid
    if sampling == "point":
        assert (out.data[::5] == LABELS[::2]).all()


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("factor", [2, 2.5])
def test_lazy_is_eager(sampling, factor, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TILE", 32)  # several tiles a section
    monkeypatch.setattr(module, "HALO", 8)
    eager = upsample_labels(LABELS, factor, sampling)
    zarr.save_array(str(tmp_path / "labels.zarr"), LABELS)
    stored = zarr.open(str(tmp_path / "labels.zarr"), mode="r")
    for given in (da.from_array(LABELS, chunks=(2, 20, 64)), stored):
        lazy = upsample_labels(given, factor, sampling)
        assert isinstance(lazy, da.Array)
        assert lazy.dtype == LABELS.dtype
        assert (lazy.compute(scheduler="synchronous") == eager).all()
        assert (lazy[7, 30:40, 31:50].compute(scheduler="synchronous") == eager[7, 30:40, 31:50]).all()


def test_any_box_shows_what_the_whole_shows(monkeypatch):
    monkeypatch.setattr(module, "TILE", 32)
    monkeypatch.setattr(module, "HALO", 8)
    draw = pickle.loads(pickle.dumps(Drawn(Volume.of(LABELS), Lattice(COUNT, 3, "point"))))
    whole = upsample_labels(LABELS, 3)
    for box in (np.s_[4:5, 10:20, 3:9], np.s_[2:9, 0:48, 30:34], np.s_[3:4, 0:1, 0:64], np.s_[13:16, 31:48, 31:64]):
        assert (draw(box, Runtime()) == whole[box]).all()


def test_a_lazy_section_reads_the_two_around_it():
    read = []

    def section(block_info=None):
        (z, *_) = block_info[None]["array-location"]
        read.append(z[0])
        return LABELS[z[0] : z[1]]

    deep = da.map_blocks(section, chunks=((1,) * COUNT, HEIGHT, WIDTH), dtype=LABELS.dtype, meta=LABELS[:0])
    Drawn(Volume.of(deep), Lattice(COUNT, 4, "point"))(np.s_[9:11, 0:HEIGHT, 0:WIDTH], Runtime())
    assert sorted(read) == [2, 3]


def test_one_section_is_repeated_or_stays():
    assert (upsample_labels(LABELS[:1], 3) == LABELS[:1]).all()
    assert (upsample_labels(LABELS[:1], 3, "slab") == LABELS[[0, 0, 0]]).all()


@pytest.mark.parametrize("value", [0, 9])
def test_constant_labels_stay(value):
    out = upsample_labels(np.full((3, 20, 20), value, np.int16), 4, "slab")
    assert out.shape == (12, 20, 20)
    assert (out == value).all()


def test_booleans_are_ids_too():
    out = upsample_labels(LABELS > 0, 2)
    assert out.dtype == bool
    assert (out[::2] == (LABELS > 0)).all()


def test_the_input_stays_as_it_is():
    given = LABELS.copy()
    given.flags.writeable = False
    upsample_labels(given, 3)
    assert (given == LABELS).all()


def test_what_is_refused():
    with pytest.raises(InputError, match=r"float32: only labels, integers or booleans"):
        upsample_labels(LABELS.astype(np.float32), 2)
    with pytest.raises(InputError, match="factor 13 is outside 2 to 12"):
        upsample_labels(LABELS, 13)
    with pytest.raises(InputError, match="sampling 'thick' is not one of"):
        upsample_labels(LABELS, 2, "thick")


def test_a_cancelled_job_stops():
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        upsample_labels(LABELS, 2, runtime=Runtime(cancel=cancel))


# ------------------------------------------------------------------------------ beside an image


@pytest.fixture
def result():
    image = np.random.default_rng(1).integers(0, 255, LABELS.shape, np.uint8)
    stack = Volume.of(image, voxel_nm=(30, 10, 10), origin_nm=(5, 0, 0), name="stack")
    return upsample(stack, 3, sampling="slab", method="linear", selfcheck=False)


def test_labels_go_along_with_the_record_and_the_place_of_the_image(result):
    out = result.apply(Volume.of(LABELS, name="cells"))  # of unknown size: those of the image
    assert out.grid == result.volume.grid
    assert (out.data == upsample_labels(LABELS, 3, "slab")).all()
    record = out.record
    assert record["carried"] == {"name": "cells", "dtype": "uint32", "interpolation": "shapes"}
    assert (record["factor"], record["sampling"]) == (3, "slab")
    assert isinstance(result.apply(LABELS), np.ndarray)
    assert isinstance(result.apply(da.from_array(LABELS)), da.Array)


def test_their_mask_marks_what_lies_between(result):
    part = result.along.carried(Volume.of(LABELS), result.provenance)
    assert part.synthetic.data[:, 0, 0].tolist() == [0, 0, *(1, 1, 0) * 5, 0]
    assert part.provenance["carried"]["interpolation"] == "shapes"


def test_what_cannot_go_along(result):
    with pytest.raises(InputError, match=r"labels of \(5, 48, 64\) voxels .* cannot go along: \(6, 48, 64\)"):
        result.apply(LABELS[:5])
    with pytest.raises(InputError, match="only labels"):
        result.apply(LABELS.astype(np.float64))
    with pytest.raises(InputError, match="interpolation 'cubic' is for images"):
        result.apply(LABELS, "cubic")
