"""What goes along with an alignment: one field for everything, records, masks, files in one call, flat memory."""

import tracemalloc
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_emsynth import io
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields import Displacement, compose, moved, outside
from napari_emsynth.fields.apply import applied
from napari_emsynth.io.export import Output, carried, check_export, export, lazily
from napari_emsynth.io.fields import read_field
from napari_emsynth.methods.align.stack.carry import finished, through
from napari_emsynth.spec import CancelToken
from napari_emsynth.volume import Known, Volume

SHAPE, VOXEL = (4, 40, 56), (30.0, 4.0, 4.0)


def image(dtype="uint8", shape=SHAPE, **more):
    return Volume.of(np.random.default_rng(0).integers(0, 200, shape).astype(dtype), voxel_nm=VOXEL, **more)


def drawn(seed=0, shape=SHAPE):
    data = np.random.default_rng(seed).normal(0, 1, (shape[0], 2, 4, 5)).astype(np.float32)
    data[2] = 0
    return Displacement(data, shape, VOXEL)


def whole(volume):
    return volume.read(slice(None))


def test_a_stack_moved_by_a_field_has_a_mask_and_a_record():
    volume = image(name="cortex")
    result = through(volume, drawn(), name="u.zarr", found={"method": "ssemnet"})
    assert np.array_equal(whole(result.volume), moved(volume, drawn(), "cubic").data)
    assert np.array_equal(whole(result.empty), outside(drawn(), volume).data)
    assert not whole(result.synthetic).any()
    record = result.provenance
    assert [entry["treatment"] for entry in record["sections"]] == ["moved", "moved", "kept", "moved"]
    assert record["sections"][0]["max_px"] == pytest.approx(drawn().largest_px()[0], abs=1e-3)
    assert record["source"]["name"] == "cortex"
    assert record["field"] == {"file": "u.zarr", "record": {"method": "ssemnet"}}
    assert result.volume.is_lazy


def test_everything_goes_through_the_same_field_and_says_so():
    result = through(image(), drawn())
    labels = image("uint16", name="cells")
    along = carried(result, labels)
    assert np.array_equal(whole(along.volume), moved(labels, drawn(), "nearest").data)
    assert np.array_equal(whole(along.synthetic), whole(result.synthetic))
    assert along.provenance["carried"] == {"name": "cells", "dtype": "uint16", "interpolation": "nearest"}
    assert {k: v for k, v in along.provenance.items() if k != "carried"} == result.provenance
    other = carried(result, image(), "cubic")
    assert np.array_equal(whole(other.volume), whole(result.volume))
    with pytest.raises(InputError, match=r"the volume half has \(4, 20, 56\)"):
        carried(result, image(shape=(4, 20, 56), name="half"))
    with pytest.raises(InputError, match="no displacement"):
        carried(replace(result, displacement=None, along=None), labels)


def test_two_alignments_are_drawn_once_through_both():
    volume, first, then = image(), drawn(1), drawn(2)
    both = through(applied(volume, first, "cubic"), then)
    assert np.array_equal(whole(both.volume), moved(volume, compose(first, then), "cubic").data)
    assert [entry["treatment"] for entry in both.provenance["sections"]] == ["moved", "moved", "kept", "moved"]
    assert len(both.provenance["upon"]["sections"]) == 4
    again = through(both.volume, Displacement(np.zeros((4, 2, 4, 5), np.float32), SHAPE, VOXEL))
    assert np.allclose(again.displacement.dense(3), both.displacement.dense(3), atol=1e-5)
    alone = replace(through(replace(volume, known=None), then), volume=volume)
    short = finished(alone, applied(volume, first, "cubic"), limit_nm=3.0).displacement
    assert max(np.hypot(*short.dense(z)).max() for z in range(4)) * 4.0 <= 3.0


def test_what_was_made_up_before_moves_along_in_the_mask():
    before = np.zeros(SHAPE, np.uint8)
    before[1] = 1
    before[2, 10:20] = 7  # a mask of another making: anything but zero is made up
    known = replace(image(), known=Known(synthetic=before, record={"method": "before"}))
    result, plain = through(known, drawn()), through(image(), drawn())
    mask = whole(result.synthetic)
    empty = whole(result.empty)
    assert np.array_equal(mask[1], 1 - empty[1])
    assert mask[2, 10:20].all()
    assert mask.max() == 1
    assert not mask[0].any()
    assert np.array_equal(empty, whole(plain.empty))
    assert result.provenance["previous"] == {"method": "before"}


@pytest.mark.parametrize("field", ["u.npy", "u.zarr", None])
def test_one_call_writes_everything(tmp_path, field):
    result = through(image(), drawn())
    outputs = [
        Output(path=tmp_path / "image.ome.tif"),
        Output(path=tmp_path / "labels.zarr", volume=image("uint64"), interpolation="nearest"),
        Output(path=tmp_path / "other.tif", volume=image("float32")),
    ]
    told = []
    path = None if field is None else tmp_path / field
    export(result, outputs, path, progress=lambda *said: told.append(said))
    assert np.array_equal(whole(io.read(tmp_path / "image.ome.tif")), whole(result.volume))
    assert np.array_equal(whole(io.read(tmp_path / "labels.zarr")), moved(image("uint64"), drawn(), "nearest").data)
    other = whole(io.read(tmp_path / "other.tif"))
    assert np.array_equal(other, moved(image("float32"), drawn(), "cubic").data, equal_nan=True)
    for name in ("image.ome.tif", "labels.zarr", "other.tif"):
        assert io.read(tmp_path / name).grid.voxel_nm == VOXEL
        assert io.read_provenance(tmp_path / name)["method"] == "displacement-field"
        assert np.array_equal(whole(io.read_synthetic(tmp_path / name)), whole(result.synthetic))
    if path is not None:
        assert np.array_equal(read_field(path).dense(3), drawn().dense(3))
    done = [step for step, *_ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]


def test_nothing_is_written_when_one_output_is_refused(tmp_path):
    result = through(image(), drawn())
    bad = [
        ([Output(path=tmp_path / "a.zarr"), Output(path=tmp_path / "b.png", volume=image())], "suffix"),
        ([Output(path=tmp_path / "a.zarr"), Output(path=tmp_path / "a.zarr", volume=image())], "named twice"),
        ([Output(path=tmp_path / "a.zarr"), Output(path=tmp_path / "b.tif", volume=image("int64"))], "int64"),
        ([Output(path=tmp_path / "a.zarr"), Output(path=tmp_path / "b.zarr", volume=image(shape=(4, 20, 56)))], "20"),
    ]
    for outputs, said in bad:
        with pytest.raises(InputError, match=said):
            export(result, outputs, tmp_path / "u.npy")
    assert not list(tmp_path.iterdir())


def test_inputs_stay_what_they_are(tmp_path):
    io.write(image(), tmp_path / "labels.zarr")
    labels = io.read(tmp_path / "labels.zarr")
    result = through(image(), drawn())
    with pytest.raises(InputError, match="same file"):
        export(result, [Output(path=tmp_path / "labels.zarr", volume=labels)], overwrite=True)
    with pytest.raises(InputError, match="same file"):
        check_export([Output(path=tmp_path / "labels.zarr")], inputs=[tmp_path / "labels.zarr"], overwrite=True)
    assert np.array_equal(whole(io.read(tmp_path / "labels.zarr")), image().data)


def test_a_cancelled_export_leaves_whole_files_only(tmp_path):
    result, token = through(image(), drawn()), CancelToken()
    outputs = [Output(path=tmp_path / "b.zarr"), Output(path=tmp_path / "a.zarr", volume=image())]

    def progress(done, total, what):
        if done >= 1000:
            token.cancel()

    with pytest.raises(Cancelled):
        export(result, outputs, progress=progress, cancel=token)
    assert (tmp_path / "a.zarr").exists()
    assert not (tmp_path / "b.zarr").exists()
    assert np.array_equal(whole(io.read(tmp_path / "a.zarr")), moved(image(), drawn(), "nearest").data)


def test_volumes_in_memory_are_read_block_by_block_too():
    volume = image()
    assert lazily(volume).is_lazy
    assert np.array_equal(whole(lazily(volume)), volume.data)
    lazy = Volume.of(da.from_array(volume.data, chunks=(1, 40, 56)))
    assert lazily(lazy) is lazy


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.tif"])
def test_memory_does_not_grow_with_the_stack(tmp_path, name):
    def peak(count):
        shape = (count, 512, 512)
        stack = Volume.of(da.zeros(shape, chunks=(1, 512, 512), dtype=np.uint8))
        result = through(stack, Displacement.zero(shape, 512))
        outputs = [Output(path=tmp_path / f"{count}-{name}")]
        tracemalloc.start()
        export(result, outputs)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is imported then is not counted
    assert peak(48) < peak(16) + 4e6  # 32 sections and their mask have 17 MB
