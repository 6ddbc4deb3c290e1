"""Labels that go along with ``emsynth upsample``: what is written beside OUT, and what is refused."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

import napari_emsynth as es
from napari_emsynth.io import read_provenance, read_synthetic
from napari_emsynth.methods.upsample.labels.labels import upsample_labels

RUN = ("--method", "linear", "--factor")


@pytest.fixture
def ids(crop):
    """Ids beyond 32 bits, in patches that change from section to section."""
    return uniform_filter(crop, (0, 25, 25)).astype(np.uint64) // 16 * 7 + 2**40


@pytest.fixture
def labels(tmp_path, ids):
    path = tmp_path / "labels.zarr"
    es.write(es.Volume.of(ids, voxel_nm=(10, 10, 10)), path)
    return path


def whole(path, part=es.read):
    return part(path).read(slice(None))


@pytest.mark.parametrize(("factor", "sampling"), [(3, "point"), (2.5, "slab")])
def test_labels_lie_on_the_sections_of_the_image(emsynth, stack, labels, ids, tmp_path, factor, sampling):
    out, along = tmp_path / "out.zarr", tmp_path / "along.ome.zarr"
    words = (*RUN, factor, "--sampling", sampling, "--apply-to", f"{labels}={along}", "--json")
    answer = emsynth("upsample", stack, out, *words)
    assert answer.code == 0, answer.err
    assert answer.json["applied_to"] == [{"in": str(labels), "out": str(along)}]
    assert np.array_equal(whole(along), upsample_labels(ids, factor, sampling))
    assert es.read(along).dtype == ids.dtype
    assert es.read(along).grid == es.read(out).grid
    record = read_provenance(along)
    assert record["carried"]["interpolation"] == "shapes"
    assert (record["factor"], record["sampling"]) == (factor, sampling)
    if sampling == "point":
        assert np.array_equal(whole(along)[::3], ids)
        assert np.array_equal(whole(along, read_synthetic), whole(out, read_synthetic))


def test_several_go_along_and_small_ids_fit_a_tiff(emsynth, stack, ids, tmp_path):
    pairs = []
    for name, dtype in (("a", np.uint8), ("b", np.uint16)):
        given = es.Volume.of((ids % 251).astype(dtype), voxel_nm=(10, 10, 10))
        es.write(given, tmp_path / f"{name}.tif")
        pairs += ["--apply-to", f"{tmp_path / name}.tif={tmp_path / name}-along.ome.tif"]
    assert emsynth("upsample", stack, tmp_path / "out.ome.tif", *RUN, 2, *pairs).code == 0
    a, b = (whole(tmp_path / f"{name}-along.ome.tif") for name in "ab")
    assert (a.dtype, b.dtype) == (np.uint8, np.uint16)
    assert np.array_equal(a, b)


def test_a_killed_run_keeps_the_labels_that_were_whole(emsynth, stack, labels, tmp_path, monkeypatch):
    from napari_emsynth.methods.upsample.job import Job
    from napari_emsynth.methods.upsample.labels.labels import Drawn

    draw = Job.__call__

    def dying(job, box, runtime):
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "__call__", dying)
    along = tmp_path / "along.zarr"
    run = ("upsample", stack, tmp_path / "out.zarr", *RUN, 2, "--apply-to", f"{labels}={along}")
    assert emsynth(*run).code == 130
    assert along.exists()
    assert not (tmp_path / "out.zarr").exists()
    monkeypatch.setattr(Job, "__call__", draw)
    monkeypatch.setattr(Drawn, "__call__", dying)  # labels are not drawn twice
    assert emsynth(*run, "--resume").code == 0
    assert es.read(tmp_path / "out.zarr").shape == es.read(along).shape


BAD_USE = [
    ("{tmp}/labels.zarr", "not LABELS=OUT2"),
    ("{tmp}/none.zarr={tmp}/l.zarr", "none.zarr does not exist"),
    ("{tmp}/labels.zarr={tmp}/l.png", "suffix '.png'"),
    ("{tmp}/labels.zarr={tmp}/labels.zarr", "same file"),
    ("{tmp}/labels.zarr={tmp}/stack.ome.tif", "same file"),
    ("{tmp}/labels.zarr={tmp}/o.ome.tif", "named twice"),
    ("{tmp}/labels.zarr={tmp}/l.ome.tif", "uint64 do not fit OME-TIFF"),
    ("{tmp}/short.zarr={tmp}/l.zarr", "short.zarr has 5 x 96 x 96 voxels (z, y, x), the stack 16 x 96 x 96"),
    ("{tmp}/grey.zarr={tmp}/l.zarr", "grey.zarr has voxels of type float32: only labels"),
]


@pytest.mark.parametrize(("pair", "said"), BAD_USE, ids=[pair for pair, _ in BAD_USE])
def test_bad_use_is_refused_in_one_line(refused, stack, labels, ids, crop, tmp_path, pair, said):
    es.write(es.Volume.of(ids[:5]), tmp_path / "short.zarr")
    es.write(es.Volume.of(crop.astype(np.float32)), tmp_path / "grey.zarr")
    words = (*RUN, 2, "--apply-to", pair.replace("{tmp}", str(tmp_path)))
    assert said in refused("upsample", stack, tmp_path / "o.ome.tif", *words)
