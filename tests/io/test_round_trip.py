"""What is written is read back: voxels to the bit, size, origin, mask, uncertainty, record."""

import json

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.spec import Result
from napari_emsynth.volume import Volume

OUTPUTS = ("out.tif", "out.tiff", "out.ome.tif", "out.zarr", "out.ome.zarr")
DTYPES = ("uint8", "int16", "uint16", ">u2", ">i2", "float32", ">f4", "float64", "int32", "uint32", "int8")
RECORD = {"task": "interpolate", "params": {"k": [1, 2.5, None]}, "notices": ['a <b> & {c} "d" µ']}


def voxels(dtype, shape=(5, 40, 33), seed=0):
    """Values over the type's whole range; floats with NaN, infinities, -0.0 and denormals."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        a = rng.normal(0, 1e3, shape).astype(dtype)
        a[1, :2, :5] = [np.nan, np.inf, -np.inf, -0.0, 1e-44]
        a[2] = np.nan
        a[3] = -0.0
        return a
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, shape, dtype=kind.newbyteorder("="), endpoint=True).astype(dtype)


def result(data, lazy=False, **kwargs):
    synthetic = (np.random.default_rng(1).random(data.shape) > 0.5).astype("u1")
    uncertainty = np.random.default_rng(2).random(data.shape).astype("f4") * synthetic
    wrap = (lambda a: da.from_array(a, chunks=(1, *a.shape[1:]))) if lazy else (lambda a: a)
    return Result(
        volume=Volume.of(wrap(data), **kwargs),
        synthetic=Volume.of(wrap(synthetic)),
        uncertainty=Volume.of(wrap(uncertainty)),
        provenance=RECORD,
    )


def whole(volume):
    return volume.read(slice(None))


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("lazy", [False, True])
def test_result_round_trip(tmp_path, name, lazy):
    made = result(voxels("uint8"), lazy, voxel_nm=(40, 4.25, 4), origin_nm=(100, -7.5, 3.125), name="cell")
    assert io.write(made, tmp_path / name) == tmp_path / name
    back = io.read(tmp_path / name)
    assert back.grid == made.volume.grid
    assert whole(back).tobytes() == whole(made.volume).tobytes()
    np.testing.assert_array_equal(whole(io.read_synthetic(tmp_path / name)), whole(made.synthetic))
    np.testing.assert_array_equal(whole(io.read_uncertainty(tmp_path / name)), whole(made.uncertainty))
    assert io.read_synthetic(tmp_path / name).dtype == np.uint8
    assert io.read_uncertainty(tmp_path / name).dtype == np.float32
    assert io.read_provenance(tmp_path / name) == RECORD
    assert back.record == RECORD
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_voxels_are_bit_identical(tmp_path, name, dtype):
    data = voxels(dtype)
    io.write(Volume.of(data), tmp_path / name)
    back = io.read(tmp_path / name)
    native = np.dtype(dtype).newbyteorder("=")
    assert back.dtype == native
    assert whole(back).tobytes() == data.astype(native).tobytes()


def test_zarr_holds_types_tiff_cannot(tmp_path):
    for dtype in ("bool", "int64", "uint64", "float16"):
        data = np.arange(24).reshape(2, 3, 4).astype(dtype)
        io.write(Volume.of(data), tmp_path / f"{dtype}.zarr")
        np.testing.assert_array_equal(whole(io.read(tmp_path / f"{dtype}.zarr")), data)
        with pytest.raises(InputError, match=rf"{dtype}.*\.ome\.zarr") as caught:
            io.write(Volume.of(data), tmp_path / f"{dtype}.tif")
        assert "\n" not in str(caught.value)
        assert sorted(p.suffix for p in tmp_path.iterdir() if dtype in p.name) == [".zarr"]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 7), (3, 1, 9), (3, 9, 1), (2, 3, 4), (3, 4, 3), (17, 2, 257)])
@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_odd_and_tiny_shapes(tmp_path, shape, name):
    data = voxels("uint16", shape)
    for made in (Volume.of(data), result(data)):
        io.write(made, tmp_path / name, overwrite=True)
        assert io.read(tmp_path / name).shape == shape
        np.testing.assert_array_equal(whole(io.read(tmp_path / name)), data)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_unknown_size_stays_unknown(tmp_path, name):
    io.write(Volume.of(voxels("uint8")), tmp_path / name)
    assert io.read(tmp_path / name).grid.voxel_nm is None
    assert io.read(tmp_path / name, voxel_nm=(30, 4, 4)).grid.voxel_nm == (30, 4, 4)
    assert io.read_synthetic(tmp_path / name) is None
    assert io.read_uncertainty(tmp_path / name) is None
    assert io.read_provenance(tmp_path / name) is None


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_record_is_strict_json_and_survives_a_second_write(tmp_path, name):
    made = result(voxels("uint8"))
    made.provenance["selfcheck"] = {"psnr": float("inf"), "ssim": float("nan")}
    io.write(made, tmp_path / name)
    made.provenance.pop("selfcheck")
    record = io.read_provenance(tmp_path / name)
    assert record == {**RECORD, "selfcheck": {"psnr": None, "ssim": None}}
    io.write(io.read(tmp_path / name), tmp_path / f"again.{name}")
    assert io.read_provenance(tmp_path / f"again.{name}") == record


def test_tiff_for_other_readers(tmp_path):
    made = result(voxels("uint16"), voxel_nm=(40, 4.25, 4), name="cell <1> & {2}")
    io.write(made, tmp_path / "out.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.ome.tif"), made.volume.data)
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tif:
        assert tif.is_ome
        assert [s.name for s in tif.series] == ["cell <1> & {2}", "synthetic", "uncertainty"]
        assert [s.axes for s in tif.series] == ["ZYX"] * 3
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"][0]["Pixels"]
        assert (pixels["PhysicalSizeZ"], pixels["PhysicalSizeZUnit"]) == (40, "nm")
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == (4.25, 4)
    mapped = tifffile.memmap(tmp_path / "out.ome.tif", series=0, mode="r")
    np.testing.assert_array_equal(mapped, made.volume.data)


def test_large_tiff_is_bigtiff(tmp_path, monkeypatch):
    """Above 4 GiB; the file is not made, only what it would be opened as."""
    seen = {}

    class StopError(Exception):
        pass

    def writer(path, **kwargs):
        seen.update(kwargs)
        raise StopError

    monkeypatch.setattr(tifffile, "TiffWriter", writer)
    for sections, big in ((3900, False), (4200, True)):
        with pytest.raises(StopError):
            io.write(
                Volume.of(da.zeros((sections, 1024, 1024), chunks=(1, 1024, 1024), dtype="u1")), tmp_path / "o.tif"
            )
        assert seen["bigtiff"] is big


def test_zarr_is_valid_ome_zarr(tmp_path):
    yaozarrs = pytest.importorskip("yaozarrs")
    made = result(voxels("uint8", (6, 600, 300)), voxel_nm=(8, 4, 4), origin_nm=(1, 2, 3))
    io.write(made, tmp_path / "out.ome.zarr")
    for image in ("", "labels", "labels/synthetic", "uncertainty"):
        yaozarrs.validate_zarr_store(str(tmp_path / "out.ome.zarr" / image))
    root = zarr.open(tmp_path / "out.ome.zarr", mode="r")
    assert root.metadata.zarr_format == 3
    assert root.attrs["ome"]["version"] == "0.5"
    assert root.attrs["emsynth"] == RECORD
    assert root["labels"].attrs["ome"]["labels"] == ["synthetic"]
    assert root["labels/synthetic"].attrs["ome"]["image-label"]["source"] == {"image": "../../"}
    # Every JSON file is strict JSON.
    for file in (tmp_path / "out.ome.zarr").rglob("zarr.json"):
        json.loads(file.read_text(), parse_constant=lambda word: pytest.fail(word))


def test_pyramid_keeps_edges_means_and_marks(tmp_path):
    """Voxels 8 x 4 x 4: z joins at the third level; all levels cover one extent; a mark persists."""
    data = voxels("float32", (6, 1025, 520), seed=3)
    data[~np.isfinite(data)] = 0
    synthetic = np.zeros(data.shape, "u1")
    synthetic[3, 700, 11] = 1
    io.write(
        Result(volume=Volume.of(data, voxel_nm=(8, 4, 4)), synthetic=Volume.of(synthetic), provenance={}),
        tmp_path / "out.zarr",
    )
    root = zarr.open(tmp_path / "out.zarr", mode="r")
    sets = root.attrs["ome"]["multiscales"][0]["datasets"]
    assert [root[s["path"]].shape for s in sets] == [(6, 1025, 520), (6, 513, 260), (3, 257, 130), (2, 129, 65)]
    for s in sets:
        scale, shift = (s["coordinateTransformations"][0]["scale"], s["coordinateTransformations"][1]["translation"])
        # The near edge of the first voxel stays where it was: -v/2 of level 0.
        np.testing.assert_allclose(np.array(shift) - np.array(scale) / 2, [-4, -2, -2])
    one = root["1"][:, :512]
    np.testing.assert_allclose(one, data[:, :1024].reshape(6, 512, 2, 260, 2).mean((2, 4)), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(root["1"][:, 512], data[:, 1024].reshape(6, 260, 2).mean(2), rtol=1e-4, atol=1e-3)
    assert [int(root[f"labels/synthetic/{i}"][:].sum()) for i in range(4)] == [1, 1, 1, 1]


def test_mask_of_another_shape_is_refused(tmp_path):
    made = Result(volume=Volume.of(voxels("u1")), synthetic=Volume.of(np.zeros((1, 2, 3), "u1")), provenance={})
    with pytest.raises(InputError, match=r"\(1, 2, 3\).*\(5, 40, 33\)"):
        io.write(made, tmp_path / "out.zarr")
    assert not list(tmp_path.iterdir())
