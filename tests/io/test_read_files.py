"""Files other programs wrote: layouts, sizes with their units, and what is refused."""

import pickle

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.io.units import nm_per

STACK = np.random.default_rng(0).integers(0, 60000, (6, 70, 90)).astype("u2")


def whole(volume):
    return volume.read(slice(None))


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        io.read(path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------- TIFF layouts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"imagej": True},
        {"imagej": True, "byteorder": ">"},
        {"ome": True},
        {"metadata": None},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "byteorder": ">"},
        {"rowsperstrip": 7},
        {"compression": "zlib", "rowsperstrip": 7},
        {"tile": (32, 48)},
        {"tile": (32, 48), "compression": "zlib", "byteorder": ">", "bigtiff": True},
    ],
    ids=str,
)
def test_every_tiff_layout(tmp_path, options):
    tifffile.imwrite(tmp_path / "in.tif", STACK, **options)
    volume = io.read(tmp_path / "in.tif")
    assert volume.shape == STACK.shape
    assert volume.dtype == np.dtype("u2")
    assert volume.name == "in"
    np.testing.assert_array_equal(whole(volume), STACK)
    # A window that cuts strips and tiles, and single voxels.
    np.testing.assert_array_equal(volume.read(slice(2, 5), slice(11, 53), slice(40, 77)), STACK[2:5, 11:53, 40:77])
    assert volume.section(5, slice(69, 70), slice(89, 90)) == STACK[5, 69, 89]


def test_only_the_tiles_of_a_window_are_decoded(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "in.tif", STACK, compression="zlib", tile=(32, 32))
    stored = io.read(tmp_path / "in.tif").data
    decoded = []
    decode = stored.source._decode
    monkeypatch.setattr(stored.source, "_decode", lambda page, i: decoded.append(i) or decode(page, i))
    np.testing.assert_array_equal(stored[3:4, 40:50, 5:40], STACK[3:4, 40:50, 5:40])
    assert decoded == [3, 4]  # 3 tiles across: second row, first two columns
    np.testing.assert_array_equal(stored[::-2, 60:10:-3, ::7], STACK[::-2, 60:10:-3, ::7])
    np.testing.assert_array_equal(stored[[4, 1], ..., 3], STACK[[4, 1], ..., 3])
    np.testing.assert_array_equal(stored[-1, 5], STACK[-1, 5])
    assert stored[2:2, :, :].shape == (0, 70, 90)
    again = pickle.loads(pickle.dumps(stored))
    np.testing.assert_array_equal(again[1:2, :, :], STACK[1:2])


def test_sections_written_one_by_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        for section in STACK:
            tiff.write(section, compression="zlib")
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.tif")), STACK)


def test_axes_of_length_one_are_dropped(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK[None, :, None], imagej=True)
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.tif")), STACK)


@pytest.mark.parametrize(
    ("shape", "options", "match"),
    [
        ((70, 90), {}, r"\(70, 90\).*one section"),
        ((70, 90, 3), {"photometric": "rgb"}, r"3 channels: 0 \(red\), 1 \(green\).*--channel"),
        ((6, 70, 90, 3), {"photometric": "rgb"}, r"3 channels: 0 \(red\), 1 \(green\).*--channel"),
        ((6, 2, 70, 90), {"imagej": True}, r"2 channels: 0, 1; choose with --channel"),
        ((4, 6, 70, 90), {}, r"\(4, 6, 70, 90\).*3 axes"),
    ],
)
def test_refused_tiff(tmp_path, shape, options, match):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros(shape, "u1"), **options)
    refused(tmp_path / "in.tif", match)


def test_damaged_tiff(tmp_path):
    (tmp_path / "text.tif").write_text("not a TIFF")
    refused(tmp_path / "text.tif", r"text\.tif cannot be read as TIFF")
    (tmp_path / "empty.tif").touch()
    refused(tmp_path / "empty.tif", r"empty\.tif is empty: it has 0 bytes")
    tifffile.imwrite(tmp_path / "short.tif", STACK)
    with (tmp_path / "short.tif").open("r+b") as file:
        file.truncate(STACK.nbytes // 2)
    refused(tmp_path / "short.tif", r"short\.tif is cut short|short\.tif cannot be read")
    tifffile.imwrite(tmp_path / "complex.tif", STACK.astype("c8"))
    refused(tmp_path / "complex.tif", "complex64")


# ----------------------------------------------------------------------------- TIFF voxel size


@pytest.mark.parametrize(
    ("unit", "per_unit"), [("nm", 1), ("um", 1e3), ("micron", 1e3), ("\\u00B5m", 1e3), ("mm", 1e6), ("angstrom", 0.1)]
)
def test_imagej_units(tmp_path, unit, per_unit):
    tifffile.imwrite(
        tmp_path / "in.tif", STACK, imagej=True,
        resolution=(per_unit / 4, per_unit / 5), metadata={"spacing": 40 / per_unit, "unit": unit},
    )  # fmt: skip
    assert io.read(tmp_path / "in.tif").grid.voxel_nm == pytest.approx((40, 5, 4), rel=1e-5)


@pytest.mark.parametrize(
    "said", [{}, {"unit": "pixel"}, {"unit": "inch", "spacing": 1}, {"unit": "nm"}, {"spacing": 40}]
)
def test_imagej_defaults_are_unknown(tmp_path, said):
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True, resolution=(72, 72), metadata=said)
    assert io.read(tmp_path / "in.tif").grid.voxel_nm is None


def test_printers_resolution_is_unknown(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK, resolution=(300, 300), resolutionunit="INCH")
    assert io.read(tmp_path / "in.tif").grid.voxel_nm is None


def test_shaped_tiff_with_words(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK, resolution=(0.25, 0.25), metadata={"spacing": 40.0, "unit": "nm"})
    assert io.read(tmp_path / "in.tif").grid.voxel_nm == pytest.approx((40, 4, 4))


@pytest.mark.parametrize(
    ("said", "voxel_nm"),
    [([45, 4.6, 4.6], (45, 4.6, 4.6)), ([4, 4], None), ("4", None), ([0, 4, 4], None), (["a", 4, 4], None)],
)
def test_size_in_free_metadata(tmp_path, said, voxel_nm):
    tifffile.imwrite(tmp_path / "in.tif", STACK, compression="zlib", metadata={"axes": "ZYX", "voxel_nm": said})
    assert io.read(tmp_path / "in.tif").grid.voxel_nm == voxel_nm
    zarr.create_array(tmp_path / "in.zarr", data=STACK, attributes={"voxel_nm": said})
    assert io.read(tmp_path / "in.zarr").grid.voxel_nm == voxel_nm


@pytest.mark.parametrize(
    ("unit", "per_unit"), [("nm", 1), ("µm", 1e3), (None, 1e3), ("mm", 1e6), ("Å", 0.1), ("pixel", None)]
)
def test_ome_units(tmp_path, unit, per_unit):
    sizes = {f"PhysicalSize{a}": v / (per_unit or 1) for a, v in zip("ZYX", (40, 5, 4), strict=True)}
    units = {f"PhysicalSize{a}Unit": unit for a in "ZYX"} if unit else {}
    tifffile.imwrite(tmp_path / "in.ome.tif", STACK, metadata={"axes": "ZYX", **sizes, **units})
    found = io.read(tmp_path / "in.ome.tif").grid.voxel_nm
    assert found == (pytest.approx((40, 5, 4)) if per_unit else None)


def test_ome_without_z_size_is_unknown(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.004, "PhysicalSizeY": 0.004}
    tifffile.imwrite(tmp_path / "in.ome.tif", STACK, metadata=metadata)
    assert io.read(tmp_path / "in.ome.tif").grid.voxel_nm is None


@pytest.mark.parametrize("unit", ["", None, "pixel", "pixels", "inch", "reference frame", 3])
def test_what_is_not_a_length(unit):
    assert nm_per(unit) is None


def test_given_size_wins_and_nonsense_is_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "in.tif", STACK, imagej=True, resolution=(0.25, 0.25), metadata={"spacing": 40, "unit": "nm"}
    )
    assert io.read(tmp_path / "in.tif", voxel_nm=(28, 11.24, 11.24)).grid.voxel_nm == (28, 11.24, 11.24)
    with pytest.raises(InputError, match="nm"):
        io.read(tmp_path / "in.tif", voxel_nm=(0, 4, 4))


# --------------------------------------------------------------------------------------- Zarr


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2", "f4"])
def test_plain_zarr_arrays(tmp_path, version, dtype):
    array = zarr.create_array(
        tmp_path / "in.zarr", shape=STACK.shape, chunks=(2, 32, 32), dtype=dtype, zarr_format=version
    )
    array[:] = STACK.astype(dtype)
    volume = io.read(tmp_path / "in.zarr")
    assert volume.is_lazy
    assert volume.grid.voxel_nm is None
    assert volume.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(whole(volume), STACK.astype(dtype))


def multiscale(path, version, array, axes, transforms, image_transforms=None, version_key=True):
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    group.create_array("s0", data=array, chunks=tuple(min(n, 32) for n in array.shape))
    group.create_array("s1", data=array[..., ::2, ::2], chunks=tuple(min(n, 32) for n in array[..., ::2, ::2].shape))
    image = {
        "axes": axes,
        "datasets": [{"path": p, "coordinateTransformations": transforms} for p in ("s0", "s1")],
        **({"coordinateTransformations": image_transforms} if image_transforms else {}),
        **({"version": version} if version == "0.4" else {}),
    }
    group.attrs.update(
        {"multiscales": [image]} if version == "0.4" else {"ome": {"version": version, "multiscales": [image]}}
    )
    return path


def space(unit, names="zyx"):
    return [{"name": n, "type": "space", **({"unit": unit} if unit else {})} for n in names]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("unit", "per_unit"), [("nanometer", 1), ("micrometer", 1e3), ("angstrom", 0.1), ("millimeter", 1e6), (None, None)]
)
def test_ome_zarr_level_0_and_its_size(tmp_path, version, unit, per_unit):
    p = per_unit or 1
    transforms = [
        {"type": "scale", "scale": [40 / p, 5 / p, 4 / p]},
        {"type": "translation", "translation": [100 / p, 20 / p, -30 / p]},
    ]
    multiscale(tmp_path / "in.ome.zarr", version, STACK, space(unit), transforms)
    volume = io.read(tmp_path / "in.ome.zarr")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert volume.name == "in"
    assert volume.grid.voxel_nm == (pytest.approx((40, 5, 4)) if per_unit else None)
    assert volume.grid.origin_nm == pytest.approx((100, 20, -30) if per_unit else (0, 0, 0))


def test_image_transform_comes_after_the_levels(tmp_path):
    """scale 2 then shift 3, then the image's scale 10 and shift 1: size 20, origin 31."""
    level = [{"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [3, 3, 3]}]
    image = [{"type": "scale", "scale": [10, 10, 10]}, {"type": "translation", "translation": [1, 1, 1]}]
    multiscale(tmp_path / "in.zarr", "0.4", STACK, space("nanometer"), level, image)
    grid = io.read(tmp_path / "in.zarr").grid
    assert (grid.voxel_nm, grid.origin_nm) == ((20, 20, 20), (31, 31, 31))


def test_single_channel_and_time_are_dropped(tmp_path):
    axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}, *space("micrometer")]
    transforms = [{"type": "scale", "scale": [1, 1, 0.04, 0.005, 0.004]}]
    multiscale(tmp_path / "in.zarr", "0.5", STACK[None, None], axes, transforms)
    volume = io.read(tmp_path / "in.zarr")
    assert volume.grid.voxel_nm == pytest.approx((40, 5, 4))
    np.testing.assert_array_equal(whole(volume), STACK)


def test_axes_in_another_order(tmp_path):
    transforms = [{"type": "scale", "scale": [4, 5, 40]}]
    multiscale(tmp_path / "in.zarr", "0.4", STACK.transpose(2, 1, 0), space("nanometer", "xyz"), transforms)
    volume = io.read(tmp_path / "in.zarr")
    assert volume.grid.voxel_nm == (40, 5, 4)
    np.testing.assert_array_equal(whole(volume), STACK)


def test_refused_zarr(tmp_path):
    scale = [{"type": "scale", "scale": [1] * 4}]
    channels = [{"name": "c", "type": "channel"}, *space("nanometer")]
    multiscale(tmp_path / "channels.zarr", "0.5", np.zeros((2, 3, 4, 5), "u1"), channels, scale)
    refused(tmp_path / "channels.zarr", r"2 channels: 0, 1; choose with --channel")
    zarr.create_array(tmp_path / "flat.zarr", shape=(4, 5), dtype="u1")
    refused(tmp_path / "flat.zarr", r"\(4, 5\), needs 3 axes")
    zarr.create_array(tmp_path / "complex.zarr", shape=(3, 4, 5), dtype="c8")
    refused(tmp_path / "complex.zarr", "complex64")
    group = zarr.create_group(tmp_path / "many.zarr")
    refused(tmp_path / "many.zarr", "no 3-D array")
    for name in ("raw", "mask"):
        group.create_array(name, shape=(3, 4, 5), dtype="u1")
    refused(tmp_path / "many.zarr", r"2 series: 0 \(mask: 3 x 4 x 5 uint8\), 1 \(raw: .*choose with --series")
    assert io.read(tmp_path / "many.zarr" / "raw").shape == (3, 4, 5)
    (tmp_path / "nothing.zarr").mkdir()
    refused(tmp_path / "nothing.zarr", r"nothing\.zarr cannot be read as Zarr")
    multiscale(tmp_path / "lost.zarr", "0.5", STACK, space(None), [{"type": "scale", "scale": [1, 1, 1]}])
    del zarr.open(tmp_path / "lost.zarr")["s0"]
    refused(tmp_path / "lost.zarr", r"'s0', which is not there")


def test_group_with_one_array_and_bioformats_layout(tmp_path):
    zarr.create_group(tmp_path / "one.zarr").create_array("volume", data=STACK)
    np.testing.assert_array_equal(whole(io.read(tmp_path / "one.zarr")), STACK)
    root = zarr.create_group(tmp_path / "bio.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    multiscale(tmp_path / "bio.zarr" / "0", "0.4", STACK, space("nanometer"), [{"type": "scale", "scale": [40, 4, 4]}])
    assert root is not None
    assert io.read(tmp_path / "bio.zarr").grid.voxel_nm == (40, 4, 4)


# ---------------------------------------------------------------------------------------- MRC


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4"])
def test_mrc(tmp_path, dtype):
    data = STACK.astype("f4") / 7 if dtype == "f4" else (STACK % 100).astype(dtype)
    with mrcfile.new(tmp_path / "in.mrc", data) as mrc:
        mrc.voxel_size = (41.0, 42.0, 400.0)  # Angstrom, x y z
        mrc.header.origin.z = 50
    volume = io.read(tmp_path / "in.mrc")
    assert volume.grid.voxel_nm == (40, 4.2, 4.1)
    assert volume.grid.origin_nm == (5, 0, 0)
    np.testing.assert_array_equal(whole(volume), data)


def test_big_endian_mrc_with_extended_header(tmp_path):
    with mrcfile.new(tmp_path / "in.mrc", (STACK % 100).astype("i2")) as mrc:
        mrc.set_extended_header(np.zeros(80, "u1"))
    raw = (tmp_path / "in.mrc").read_bytes()
    with mrcfile.open(tmp_path / "in.mrc") as mrc:
        header = mrc.header.copy().astype(mrc.header.dtype.newbyteorder(">"))
    header["machst"] = [0x11, 0x11, 0, 0]
    (tmp_path / "big.mrc").write_bytes(header.tobytes() + raw[1024:1104] + (STACK % 100).astype(">i2").tobytes())
    np.testing.assert_array_equal(whole(io.read(tmp_path / "big.mrc")), STACK % 100)


@pytest.mark.parametrize("size", [0.0, 1.0])
def test_mrc_default_size_is_unknown(tmp_path, size):
    with mrcfile.new(tmp_path / "in.mrc", STACK.astype("i2")) as mrc:
        mrc.voxel_size = size
    assert io.read(tmp_path / "in.mrc").grid.voxel_nm is None


def test_refused_mrc(tmp_path):
    (tmp_path / "text.mrc").write_text("not an MRC file" * 100)
    refused(tmp_path / "text.mrc", r"text\.mrc cannot be read as MRC")
    with mrcfile.new(tmp_path / "flat.mrc", STACK[0].astype("i2")):
        pass
    refused(tmp_path / "flat.mrc", r"\(70, 90\)|\(1, 70, 90\)")
    with mrcfile.new(tmp_path / "short.mrc", STACK.astype("i2")):
        pass
    with (tmp_path / "short.mrc").open("r+b") as file:
        file.truncate(2000)
    refused(tmp_path / "short.mrc", "cut short|cannot be read")


# ------------------------------------------------------------------------------------- folder


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".TIFF"])
def test_folder_in_natural_order(tmp_path, suffix):
    folder = tmp_path / "stack"
    folder.mkdir()
    data = (STACK % 256).astype("u1") if suffix == ".bmp" else STACK
    for z, name in enumerate(["s1", "s2", "s3", "s10", "s11", "S100"]):
        if "TIF" in suffix.upper():
            tifffile.imwrite(folder / f"{name}{suffix}", data[z], byteorder=">")
        else:
            Image.fromarray(data[z]).save(folder / f"{name}{suffix}")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_text("not an image")
    volume = io.read(folder)
    assert (volume.name, volume.shape, volume.grid.voxel_nm) == ("stack", STACK.shape, None)
    assert volume.data.chunks == (1, 70, 90)
    assert volume.dtype == data.dtype
    np.testing.assert_array_equal(whole(volume), data)


def test_folder_decodes_only_what_is_read(tmp_path):
    for z in range(3):
        Image.fromarray(STACK[z]).save(tmp_path / f"{z}.png")
    volume = io.read(tmp_path)
    (tmp_path / "0.png").unlink()
    np.testing.assert_array_equal(volume.section(2), STACK[2])


def test_refused_folder(tmp_path):
    refused(tmp_path, "holds no images")
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    Image.fromarray(STACK[0, :50]).save(tmp_path / "b.png")
    refused(tmp_path, r"b\.png is uint16 \(50, 90\), a\.png is uint16 \(70, 90\)")
    Image.fromarray((STACK[0] % 256).astype("u1")).save(tmp_path / "b.png")
    refused(tmp_path, r"b\.png is uint8 .*a\.png is uint16")
    Image.fromarray(np.zeros((70, 90, 3), "u1")).save(tmp_path / "b.png")
    refused(tmp_path, r"b\.png holds 3 channels: 0 \(R\), 1 \(G\), 2 \(B\)")
    (tmp_path / "b.png").write_text("not an image")
    refused(tmp_path, r"b\.png cannot be read as an image")


def test_unknown_names(tmp_path):
    refused(tmp_path / "absent.tif", r"absent\.tif does not exist")
    (tmp_path / "in.png").touch()
    refused(tmp_path / "in.png", r"'\.png', needs \.tif")
    (tmp_path / "in").touch()
    refused(tmp_path / "in", "'missing', needs")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("options", [{}, {"metadata": None}, {"ome": True}, {"compression": "zlib"}], ids=str)
def test_a_copy_that_was_interrupted_is_refused(tmp_path, share, options, capsys, caplog):
    """Never a shorter stack in silence, and nothing on stderr beside the error."""
    tifffile.imwrite(tmp_path / "in.tif", STACK, **options)
    with (tmp_path / "in.tif").open("r+b") as file:
        file.truncate(int((tmp_path / "in.tif").stat().st_size * share))
    refused(tmp_path / "in.tif", "cut short|cannot be read|one section")
    assert not caplog.records
