"""Files mean what they say: every page, series, array and axis is accounted for, and read by its own tags."""

import os
import time

import imagecodecs
import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.io.choice import ChoiceError

STACK = np.random.default_rng(0).integers(0, 255, (6, 40, 50)).astype("u1")
OTHER = STACK[:, ::-1]


def whole(volume):
    return volume.read(slice(None))


def said(volume):
    return " | ".join(volume.metadata["notices"])


def refused(path, match, **choice):
    with pytest.raises(InputError, match=match) as caught:
        whole(io.read(path, **choice))
    assert "\n" not in str(caught.value)
    return caught.value


# ------------------------------------------------------------------------------- pages of a TIFF


def test_pages_of_different_storage_are_each_read_by_their_own_tags(tmp_path):
    storage = [
        {}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 7},
        {"tile": (16, 32)}, {"compression": "lzw", "rowsperstrip": 3},
    ]  # fmt: skip
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        for section, options in zip(STACK, storage, strict=True):
            tiff.write(section, contiguous=False, metadata=None, **options)
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    np.testing.assert_array_equal(volume.read(slice(1, 5), slice(5, 22), slice(17, 40)), STACK[1:5, 5:22, 17:40])


@pytest.mark.parametrize("at", [0, 3, 5])
@pytest.mark.parametrize("odd", [STACK[0].astype("u2"), STACK[0, :20], np.stack([STACK[0]] * 3, -1)], ids=str)
def test_an_odd_page_anywhere_is_refused_by_name(tmp_path, at, odd):
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        for z, section in enumerate(STACK):
            page = odd if z == at else section
            tiff.write(page, metadata=None, photometric="rgb" if page.ndim == 3 else "minisblack")
    error = refused(tmp_path / "in.tif", r"holds 2 series: .*choose with --series")
    assert isinstance(error, ChoiceError)
    stack = 0 if at else 1
    assert [choice.series for choice in error.choices] == [0, 1]
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.tif", series=stack)), np.delete(STACK, at, 0))
    refused(tmp_path / "in.tif", "--series 2 is outside 0 to 1", series=2)


def test_a_thumbnail_is_left_out_where_it_says_that_it_is_one(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        tiff.write(STACK[0, ::4, ::4], metadata=None, subfiletype=1)
        tiff.write(STACK, metadata=None)
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert "in.tif also holds 10 x 13 uint8 reduced copy: left out" in said(volume)


def test_two_stacks_in_a_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "in.ome.tif") as tiff:
        tiff.write(STACK, metadata={"axes": "ZYX", "Name": "left"})
        tiff.write(OTHER, metadata={"axes": "ZYX", "Name": "right"})
    refused(tmp_path / "in.ome.tif", r"2 series: 0 \(left: 6 x 40 x 50 uint8\), 1 \(right: ")
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.ome.tif", series=1)), OTHER)


def test_channels_and_times_are_chosen(tmp_path):
    data = np.random.default_rng(1).integers(0, 255, (2, 6, 3, 40, 50)).astype("u1")
    tifffile.imwrite(tmp_path / "in.ome.tif", data, metadata={"axes": "TZCYX"})
    tifffile.imwrite(tmp_path / "ij.tif", data, imagej=True, metadata={"axes": "TZCYX"})
    root = zarr.create_group(tmp_path / "in.zarr")
    root.create_array("0", data=data, dimension_names=["t", "z", "c", "y", "x"])
    for name in ("in.ome.tif", "ij.tif", "in.zarr"):
        refused(tmp_path / name, "holds 3 channels: 0, 1, 2; choose with --channel", time=1)
        refused(tmp_path / name, "holds 2 times: 0, 1; choose with --time", channel=2)
        refused(tmp_path / name, "--channel 3 is outside 0 to 2", channel=3, time=0)
        volume = io.read(tmp_path / name, channel=2, time=1)
        np.testing.assert_array_equal(whole(volume), data[1, :, 2])
        assert volume.metadata["chosen"] == {"channel": 2, "time": 1}


def test_what_is_not_there_cannot_be_chosen(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK)
    zarr.create_array(tmp_path / "in.zarr", data=STACK)
    for name in ("in.tif", "in.zarr"):
        refused(tmp_path / name, "--channel 1 is outside 0 to 0", channel=1)
        refused(tmp_path / name, "--time 1 is outside 0 to 0", time=1)
        refused(tmp_path / name, "--level 1 is outside 0 to 0", level=1) if name == "in.tif" else None


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_colour_is_a_channel(tmp_path, planar):
    data = np.stack([STACK, OTHER, STACK // 2], -1)
    pages = data if planar == "contig" else np.moveaxis(data, -1, 1)
    tifffile.imwrite(tmp_path / "in.tif", pages, photometric="rgb", planarconfig=planar, compression="zlib")
    refused(tmp_path / "in.tif", r"0 \(red\), 1 \(green\), 2 \(blue\)")
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.tif", channel=1)), OTHER)


def test_sections_stored_as_times_are_sections_and_that_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert "the 6 times of in.tif are taken as its sections" in said(volume)


@pytest.mark.parametrize("named", ["tcyx", "tczyx"])
def test_sections_stored_as_times_beside_channels(tmp_path, named):
    shape = (6, 2, *([1] if "z" in named else []), 40, 50)
    data = np.stack([STACK, OTHER], 1).reshape(shape)
    tifffile.imwrite(tmp_path / "in.ome.tif", data, metadata={"axes": named.upper()})
    tifffile.imwrite(tmp_path / "ij.tif", data.reshape(6, 1, 2, 40, 50), imagej=True, metadata={"axes": "TZCYX"})
    zarr.create_array(tmp_path / "in.zarr", data=data, dimension_names=list(named))
    for name in ("in.ome.tif", "ij.tif", "in.zarr"):
        refused(tmp_path / name, "holds 2 channels: 0, 1; choose with --channel")
        for channel, found in enumerate((STACK, OTHER)):
            volume = io.read(tmp_path / name, channel=channel)
            np.testing.assert_array_equal(whole(volume), found)
            assert f"the 6 times of {name} are taken as its sections" in said(volume)
    refused(tmp_path / "ij.tif", "which is one section", channel=0, time=0)


@pytest.mark.parametrize("axis", ["t", "c"])
def test_sections_stored_as_times_or_channels_of_a_zarr(tmp_path, axis):
    for name, data, names in (("a.zarr", STACK, [axis, "y", "x"]), ("b.zarr", STACK[:, None], [axis, "z", "y", "x"])):
        zarr.create_array(tmp_path / name, data=data, dimension_names=names)
        volume = io.read(tmp_path / name)
        np.testing.assert_array_equal(whole(volume), STACK)
        assert f"of {name} are taken as its sections" in said(volume)


def test_levels_of_a_pyramid(tmp_path):
    sizes = {f"PhysicalSize{a}": 4.0 for a in "ZYX"} | {f"PhysicalSize{a}Unit": "nm" for a in "ZYX"}
    with tifffile.TiffWriter(tmp_path / "in.ome.tif") as tiff:
        tiff.write(STACK, subifds=1, metadata={"axes": "ZYX", **sizes})
        tiff.write(STACK[:, ::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.ome.tif")), STACK)
    coarse = io.read(tmp_path / "in.ome.tif", level=1)
    np.testing.assert_array_equal(whole(coarse), STACK[:, ::2, ::2])
    assert coarse.grid.voxel_nm == (4, 8, 8)
    assert coarse.grid.origin_nm == (0, 2, 2)


def ome_with(planes, count=6):
    """Return OME-XML of a stack of which the file holds these planes, in order."""
    data = "".join(f'<TiffData FirstZ="{z}" IFD="{i}" PlaneCount="1"/>' for i, z in enumerate(planes))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="50" SizeY="40" SizeZ="{count}" SizeC="1" SizeT="1">{data}</Pixels></Image></OME>'
    )


def test_missing_planes_are_empty_sections_that_are_named(tmp_path):
    there = [0, 1, 3, 5]
    with tifffile.TiffWriter(tmp_path / "in.ome.tif") as tiff:
        for i, z in enumerate(there):
            tiff.write(STACK[z], metadata=None, description=ome_with(there) if i == 0 else None, contiguous=False)
    volume = io.read(tmp_path / "in.ome.tif")
    assert volume.shape == STACK.shape
    np.testing.assert_array_equal(whole(volume)[there], STACK[there])
    assert "section(s) 2,4 of in.ome.tif are not in the file" in said(volume)
    np.testing.assert_array_equal(np.asarray(volume.known.empty).mean((1, 2)), [0, 0, 1, 0, 1, 0])


def test_missing_files_of_an_ome_tiff(tmp_path):
    names = ["a.ome.tif", "b.ome.tif", "c.ome.tif"]
    uuids = [f"urn:uuid:0000000{i}-0000-0000-0000-000000000000" for i in range(3)]
    entries = "".join(
        f'<TiffData FirstZ="{2 * i}" IFD="0" PlaneCount="2"><UUID FileName="{n}">{u}</UUID></TiffData>'
        for i, (n, u) in enumerate(zip(names, uuids, strict=True))
    )
    for i, name in enumerate(names):
        xml = ome_with([]).replace("></Pixels>", f">{entries}</Pixels>").replace("<OME ", f'<OME UUID="{uuids[i]}" ')
        tifffile.imwrite(tmp_path / name, STACK[2 * i : 2 * i + 2], description=xml, metadata=None)
    np.testing.assert_array_equal(whole(io.read(tmp_path / "a.ome.tif")), STACK)
    (tmp_path / "b.ome.tif").unlink()
    volume = io.read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(whole(volume)[[0, 1, 4, 5]], STACK[[0, 1, 4, 5]])
    assert "section(s) 2-3 of a.ome.tif are not in the file" in said(volume)


def test_missing_tiles_are_empty(tmp_path):
    data = STACK.copy()
    data[2, :16, :16] = 0
    tiles = [data[z, y : y + 16, x : x + 16] for z in range(6) for y in (0, 16, 32) for x in (0, 16, 32, 48)]
    padded = [np.pad(t, [(0, 16 - n) for n in t.shape]) for t in tiles]
    padded[2 * 12] = None
    tifffile.imwrite(
        tmp_path / "in.tif", iter(padded), shape=STACK.shape, dtype="u1", tile=(16, 16), compression="zlib"
    )
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), data)
    empty = np.zeros(STACK.shape, "u1")
    empty[2, :16, :16] = 1
    np.testing.assert_array_equal(np.asarray(volume.known.empty), empty)


@pytest.mark.parametrize("back_to", [0, 2, 5])
def test_a_list_of_pages_that_runs_back_into_itself_is_refused(tmp_path, back_to):
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        for section in STACK:
            tiff.write(section, metadata=None, contiguous=False)
    with tifffile.TiffFile(tmp_path / "in.tif") as tif:
        offsets = [page.offset for page in tif.pages]
    raw = bytearray((tmp_path / "in.tif").read_bytes())
    end = offsets[-1] + 2 + 12 * int.from_bytes(raw[offsets[-1] : offsets[-1] + 2], "little")
    assert raw[end : end + 4] == bytes(4)
    raw[end : end + 4] = offsets[back_to].to_bytes(4, "little")
    (tmp_path / "in.tif").write_bytes(raw)
    refused(tmp_path / "in.tif", "runs back into itself")


@pytest.mark.parametrize("held", [1, 2, 4])
def test_sections_that_imagej_states_and_the_file_lacks_are_told(tmp_path, held):
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "in.tif") as tif:
        described = tif.pages[0].description
    with tifffile.TiffWriter(tmp_path / "in.tif") as tiff:
        for z, section in enumerate(STACK[:held]):
            tiff.write(section, metadata=None, contiguous=False, description=described if z == 0 else None)
    if held == 1:
        refused(tmp_path / "in.tif", "cut short: it states 6 sections and holds 1")
        return
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), STACK[:held])
    assert f"in.tif states 6 sections and holds {held}" in said(volume)


def test_a_corrupt_strip_names_the_section(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", STACK, compression="zlib")
    with tifffile.TiffFile(tmp_path / "in.tif") as tif:
        offset = tif.pages[4].dataoffsets[0]
    with (tmp_path / "in.tif").open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(volume.section(3), STACK[3])
    with pytest.raises(InputError, match=r"in\.tif: section 4 cannot be read"):
        whole(volume)


# ------------------------------------------------------------------------------ meaning of numbers


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_as_zero_is_turned_and_said(tmp_path, dtype):
    white = np.iinfo(dtype).max
    data = STACK.astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", white - data, photometric="miniswhite", compression="zlib")
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(whole(volume), data)
    assert "in.tif stores white as its lowest value" in said(volume)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as tiff:
        for z, section in enumerate(data):
            odd = z in (1, 4)
            page = white - section if odd else section
            tiff.write(page, photometric="miniswhite" if odd else "minisblack", metadata=None, contiguous=False)
    volume = io.read(tmp_path / "mixed.tif")
    np.testing.assert_array_equal(whole(volume), data)
    assert "2 of 6 sections of mixed.tif stores white" in said(volume)


def palette(levels):
    return np.stack([np.asarray(levels, "u2") * 257] * 3)


def test_colour_maps(tmp_path):
    tifffile.imwrite(tmp_path / "ramp.tif", STACK, photometric="palette", colormap=palette(range(256)))
    volume = io.read(tmp_path / "ramp.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert not said(volume)
    tifffile.imwrite(tmp_path / "turned.tif", STACK, photometric="palette", colormap=palette(range(255, -1, -1)))
    volume = io.read(tmp_path / "turned.tif")
    np.testing.assert_array_equal(whole(volume), 255 - STACK)
    assert "colour map of greys: it is applied" in said(volume)
    colours = palette(range(256))
    colours[0] = 0
    tifffile.imwrite(tmp_path / "labels.tif", STACK, photometric="palette", colormap=colours)
    volume = io.read(tmp_path / "labels.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert "its indices are taken as voxels" in said(volume)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as tiff:
        for z, section in enumerate(STACK):
            look = {"photometric": "palette", "colormap": colours} if z == 3 else {"photometric": "minisblack"}
            tiff.write(section, metadata=None, contiguous=False, **look)
    refused(tmp_path / "mixed.tif", "different colour maps")


@pytest.mark.parametrize("dtype", ["?", "u1", "u2"])
def test_labels_and_marks_are_the_numbers_that_are_stored(tmp_path, dtype):
    marks = (STACK > 200).astype(dtype) * np.ones((), dtype)
    tifffile.imwrite(tmp_path / "white.tif", marks, photometric="miniswhite")
    turned = palette(range(255, -1, -1))
    tifffile.imwrite(tmp_path / "map.tif", STACK, photometric="palette", colormap=turned)
    (tmp_path / "folder").mkdir()
    for z, section in enumerate(STACK):
        picture = Image.fromarray(section).convert("P")
        picture.putpalette(np.repeat(np.arange(255, -1, -1), 3).astype("u1").tobytes())
        picture.save(tmp_path / "folder" / f"{z}.png")
    for name, stored in (("white.tif", marks), ("map.tif", STACK), ("folder", STACK)):
        assert not np.array_equal(whole(io.read(tmp_path / name)), stored)
        volume = io.read(tmp_path / name, labels=True)
        np.testing.assert_array_equal(whole(volume), stored)
        assert volume.labels
        assert not said(volume)
        assert "chosen" not in volume.metadata


def test_imagej_units_of_their_own(tmp_path):
    said = {"axes": "ZYX", "spacing": 0.04, "unit": "nm", "yunit": "um", "zunit": "um"}
    tifffile.imwrite(tmp_path / "in.tif", STACK, imagej=True, resolution=(1 / 4, 1000 / 5), metadata=said)
    assert io.read(tmp_path / "in.tif").grid.voxel_nm == pytest.approx((40, 5, 4), rel=1e-4)


@pytest.mark.parametrize(("size", "found"), [("0,04", 40.0), ("wide", None), ("", None), ("inf", None)])
def test_sizes_that_are_no_numbers(tmp_path, size, found):
    sizes = {f"PhysicalSize{a}": 0.25 for a in "ZYX"}
    tifffile.imwrite(tmp_path / "in.ome.tif", STACK, metadata={"axes": "ZYX", **sizes})
    data = (tmp_path / "in.ome.tif").read_bytes()
    key = b'PhysicalSizeZ="0.25"'
    assert key in data
    new = f'PhysicalSizeZ="{size}"'.encode()
    (tmp_path / "in.ome.tif").write_bytes(data.replace(key, new + b" " * (len(key) - len(new))))
    volume = io.read(tmp_path / "in.ome.tif")
    assert volume.grid.voxel_nm == (None if found is None else (found, 250, 250))
    assert io.read(tmp_path / "in.ome.tif", voxel_nm=(40, 4, 4)).grid.voxel_nm == (40, 4, 4)


# --------------------------------------------------------------------------------------------- MRC


def byte_mrc(path, data, *, stamp=None, flags=0, limits=(0, -1), machine=None, named=True):
    """Write bytes as mode 0."""
    with mrcfile.new(path, data.view("i1")) as mrc:
        mrc.header.dmin, mrc.header.dmax = limits
    raw = bytearray(path.read_bytes())
    if stamp is not None:
        raw[152:156] = int(stamp).to_bytes(4, "little")
        raw[156:160] = int(flags).to_bytes(4, "little")
    if machine is not None:
        raw[212:216] = machine
    if not named:
        raw[208:212] = b"\0" * 4
    path.write_bytes(bytes(raw))
    return path


SMOOTH = np.linspace(100, 156, 6 * 40 * 50).reshape(6, 40, 50).astype("u1")


@pytest.mark.parametrize("suffix", [".mrc", ".rec", ".st", ".ali"])
@pytest.mark.parametrize(
    ("how", "dtype", "told"),
    [
        ({"stamp": 1146047817, "flags": 0}, "u1", ""),
        ({"stamp": 1146047817, "flags": 1}, "i1", ""),
        ({"stamp": 1146047817, "flags": 0, "limits": (-5, 10)}, "u1", ""),
        ({"limits": (0, 200)}, "u1", "read as unsigned, by its minimum 0 and maximum 200"),
        ({"limits": (-90, 90)}, "i1", "read as signed, by its minimum -90 and maximum 90"),
        ({}, "u1", "read as unsigned, which makes its sections smoother"),
    ],
    ids=str,
)
def test_signs_of_bytes(tmp_path, suffix, how, dtype, told):
    volume = io.read(byte_mrc(tmp_path / f"in{suffix}", SMOOTH, **how))
    assert volume.dtype == dtype
    np.testing.assert_array_equal(whole(volume), SMOOTH.view(dtype))
    assert told in said(volume)
    assert bool(told) == bool(said(volume))


@pytest.mark.parametrize("how", [{"machine": b"\0\0\0\0"}, {"machine": b"\x11\x11\0\0"}, {"named": False}], ids=str)
def test_stamps_that_imod_forgives(tmp_path, how):
    volume = io.read(byte_mrc(tmp_path / "in.mrc", SMOOTH, limits=(100, 156), **how))
    np.testing.assert_array_equal(whole(volume), SMOOTH)


def test_axes_of_an_mrc_in_another_order_are_refused(tmp_path):
    with mrcfile.new(tmp_path / "in.mrc", SMOOTH.astype("i2")) as mrc:
        mrc.header.mapc, mrc.header.maps = 3, 1
    refused(tmp_path / "in.mrc", r"order \(3, 2, 1\)")


# -------------------------------------------------------------------------------------------- Zarr


@pytest.mark.parametrize("version", [2, 3])
def test_named_axes_of_a_plain_array(tmp_path, version):
    names = ["x", "y", "z"]
    more = {"dimension_names": names} if version == 3 else {"attributes": {"_ARRAY_DIMENSIONS": names}}
    zarr.create_array(tmp_path / "in.zarr", data=STACK.transpose(2, 1, 0), zarr_format=version, **more)
    volume = io.read(tmp_path / "in.zarr")
    np.testing.assert_array_equal(whole(volume), STACK)
    np.testing.assert_array_equal(volume.read(slice(1, 3), slice(7, 9), slice(30, 45)), STACK[1:3, 7:9, 30:45])


def ome_zarr(path, transforms, array=STACK, unit="nanometer"):
    axes = [{"name": a, "type": "space", "unit": unit} for a in "zyx"]
    root = zarr.create_group(path)
    root.create_array("0", data=array, chunks=(2, 16, 16))
    levels = [{"path": "0", "coordinateTransformations": transforms}]
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"name": "a", "axes": axes, "datasets": levels}]}
    return root


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        ([], ""),
        (None, ""),
        ([{"type": "translation", "translation": [1, 2, 3]}], ""),
        ([{"type": "scale", "scale": [None, 4, 4]}], "in a way that cannot be read"),
        ([{"type": "scale", "scale": [4, 4]}], "in a way that cannot be read"),
        ([{"type": "scale", "path": "scales"}], "in a way that cannot be read"),
        ([{"type": "scale", "scale": [40, 4, 4]}, {"type": "affine", "affine": []}], "in a way that cannot be read"),
        ("nonsense", "in a way that cannot be read"),
    ],
    ids=str,
)
def test_a_scale_that_is_missing_is_unknown_and_not_1_nm(tmp_path, transforms, words):
    ome_zarr(tmp_path / "in.zarr", transforms)
    volume = io.read(tmp_path / "in.zarr")
    assert volume.grid.voxel_nm is None
    assert words in said(volume)
    assert bool(words) == bool(said(volume))
    assert io.read(tmp_path / "in.zarr", voxel_nm=(40, 4, 4)).grid.voxel_nm == (40, 4, 4)


def test_what_else_a_group_holds_is_said(tmp_path):
    root = ome_zarr(tmp_path / "in.zarr", [{"type": "scale", "scale": [40, 4, 4]}])
    root.create_array("raw2", data=STACK)
    volume = io.read(tmp_path / "in.zarr")
    assert volume.grid.voxel_nm == (40, 4, 4)
    assert "in.zarr also holds raw2: left out" in said(volume)


@pytest.mark.parametrize(
    "attributes", [{"bioformats2raw.layout": 3}, {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}], ids=str
)
def test_images_that_a_converter_numbered(tmp_path, attributes):
    zarr.create_group(tmp_path / "in.zarr", attributes=attributes)
    for name, data in (("0", STACK), ("1", OTHER)):
        ome_zarr(tmp_path / "in.zarr" / name, [{"type": "scale", "scale": [40, 4, 4]}], data)
    refused(tmp_path / "in.zarr", "holds 2 series: 0, 1")
    np.testing.assert_array_equal(whole(io.read(tmp_path / "in.zarr", series=1)), OTHER)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, "cut"], ids=str)
def test_a_damaged_chunk_names_the_section(tmp_path, damage):
    zarr.create_array(tmp_path / "in.zarr", data=STACK, chunks=(2, 40, 50))
    chunk = tmp_path / "in.zarr" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-100] if damage == "cut" else damage)
    volume = io.read(tmp_path / "in.zarr")
    np.testing.assert_array_equal(volume.section(1), STACK[1])
    with pytest.raises(InputError, match=r"in\.zarr: section 2 cannot be read"):
        whole(volume)


def test_a_chunk_that_was_never_written_is_a_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "in.zarr", shape=STACK.shape, chunks=(2, 40, 50), dtype="u1", fill_value=7)
    array[:2] = STACK[:2]
    found = whole(io.read(tmp_path / "in.zarr"))
    np.testing.assert_array_equal(found[:2], STACK[:2])
    assert (found[2:] == 7).all()


def vanish(path):
    path.rename(path.with_name("gone"))


def lose_a_chunk(path):
    (path / "c" / "1" / "0" / "0").unlink()


def lose_a_folder(path):
    path.joinpath("c").rename(path / "d")


def exchange(path):
    path.rename(path.with_name("gone"))
    zarr.create_array(path, data=OTHER, chunks=(2, 40, 50))


@pytest.mark.parametrize("event", [vanish, lose_a_chunk, lose_a_folder, exchange])
def test_what_vanishes_while_it_is_read_is_no_fill_value(tmp_path, event):
    zarr.create_array(tmp_path / "in.zarr", data=STACK, chunks=(2, 40, 50))
    volume = io.read(tmp_path / "in.zarr")
    np.testing.assert_array_equal(volume.section(0), STACK[0])
    time.sleep(0.05)  # folders tell the time of their last change in ticks
    event(tmp_path / "in.zarr")
    with pytest.raises(InputError, match=r"in\.zarr"):
        volume.section(2)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_is_cut_or_exchanged_while_it_is_read(tmp_path, compression):
    tifffile.imwrite(tmp_path / "in.tif", STACK, compression=compression)
    volume = io.read(tmp_path / "in.tif")
    np.testing.assert_array_equal(volume.section(0), STACK[0])
    with (tmp_path / "in.tif").open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(InputError, match=r"in\.tif"):
        volume.section(5)
    with mrcfile.new(tmp_path / "in.mrc", SMOOTH.astype("i2")):
        pass
    volume = io.read(tmp_path / "in.mrc")
    with (tmp_path / "in.mrc").open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(InputError, match=r"in\.mrc"):
        volume.section(5)


# ------------------------------------------------------------------------------------------ folder


def folder(path, names, data=STACK):
    path.mkdir()
    for name, section in zip(names, data, strict=False):
        Image.fromarray(section).save(path / name)
    return path


def test_twins_are_refused(tmp_path):
    refused(folder(tmp_path / "a", ["s1.png", "s2.png", "s2.bmp"]), r"s2\.bmp and s2\.png: one section twice")
    refused(folder(tmp_path / "b", ["s1.png", "s01.png"]), "one section twice")


def test_numbers_that_are_left_out_are_said(tmp_path):
    names = [f"s_{n:03d}_b4.png" for n in (7, 8, 9, 10, 12, 13)]
    assert "images numbered 11 are not there" in said(io.read(folder(tmp_path / "a", names)))
    names = [f"s_{n:03d}_b4.png" for n in (0, 2, 4, 6, 8, 10)]
    assert not said(io.read(folder(tmp_path / "b", names)))
    names = [f"s{n}.png" for n in (1, 2, 3, 5, 6, 10)]
    assert "images numbered 4,7-9 are not there" in said(io.read(folder(tmp_path / "c", names)))


def test_what_else_a_folder_holds_is_said(tmp_path):
    path = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (path / "notes.txt").touch()
    (path / "raw.dm3").touch()
    assert said(io.read(path)) == "a also holds raw.dm3: left out"


def test_an_image_over_the_decoders_limit_is_read(tmp_path, monkeypatch):
    path = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    np.testing.assert_array_equal(whole(io.read(path)), STACK[:3])
    assert Image.MAX_IMAGE_PIXELS == 100


def test_many_pages_in_an_image_of_a_folder_are_refused(tmp_path):
    path = folder(tmp_path / "a", ["1.png"])
    tifffile.imwrite(path / "2.tif", STACK)
    refused(path, r"2\.tif has shape \(6, 40, 50\)")


def test_images_of_a_folder_that_mean_different_things(tmp_path):
    (tmp_path / "a").mkdir()
    for z, section in enumerate(STACK):
        white = z % 2
        look = {"photometric": "miniswhite"} if white else {}
        tifffile.imwrite(tmp_path / "a" / f"{z}.tif", 255 - section if white else section, **look)
    volume = io.read(tmp_path / "a")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert "3 of 6 images of a" in said(volume)


def colours(seed):
    return np.random.default_rng(seed).integers(0, 255, 768).astype("u1").tobytes()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_maps_of_a_folder_are_one_or_refused(tmp_path, suffix):
    for name, seeds in (("one", [0] * 6), ("many", range(6))):
        (tmp_path / name).mkdir()
        for z, seed in enumerate(seeds):
            picture = Image.fromarray(STACK[z]).convert("P")
            picture.putpalette(colours(seed))
            picture.save(tmp_path / name / f"{z}.{suffix}")
    volume = io.read(tmp_path / "one")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert said(volume) == "6 of 6 images of one has a colour map: its indices are taken as voxels"
    refused(tmp_path / "many", "different colour maps")
    np.testing.assert_array_equal(whole(io.read(tmp_path / "many", labels=True)), STACK)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_colours_of_16_bits_are_not_cut_to_8(tmp_path, samples):
    (tmp_path / "a").mkdir()
    deep = np.stack([STACK[0].astype("u2") * 257] * samples, -1)
    (tmp_path / "a" / "1.png").write_bytes(imagecodecs.png_encode(deep))
    refused(tmp_path / "a", r"1\.png has colours of 16 bits", channel=0)


def test_sections_that_are_no_plain_files_are_named(tmp_path):
    path = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (path / "4.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(path / "5.tif")
    volume = io.read(path)
    np.testing.assert_array_equal(whole(volume), STACK[:3])
    assert said(volume) == "a also holds 4.png, 5.tif: left out"


@pytest.mark.parametrize("suffix", [".tif", ".mrc", ".zarr"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, suffix):
    os.mkfifo(tmp_path / f"in{suffix}")
    refused(tmp_path / f"in{suffix}", "no plain file")


def test_a_file_that_is_called_a_zarr_is_refused_as_a_file(tmp_path):
    (tmp_path / "in.zarr").write_bytes(b"PK")
    refused(tmp_path / "in.zarr", "it is a file, and a Zarr is a folder")


def test_an_image_that_changes_while_it_is_read(tmp_path):
    path = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    volume = io.read(path)
    Image.fromarray(OTHER[1] // 2).save(path / "2.png")
    np.testing.assert_array_equal(volume.section(0), STACK[0])
    with pytest.raises(InputError, match=r"2\.png was changed"):
        volume.section(1)


def test_the_end_of_an_image(tmp_path):
    path = folder(tmp_path / "a", ["1.png", "2.png", "3.png"])
    (path / "2.png").write_bytes((path / "2.png").read_bytes()[:-300])
    with pytest.raises(InputError, match=r"a: section 1 cannot be read"):
        whole(io.read(path))


def test_pages_that_lie_differently(tmp_path):
    """Kept as they are stored where all lie alike, which is said; refused where they differ."""
    for name, turns in (("alike.tif", [4] * 6), ("mixed.tif", [1, 1, 4, 1, 1, 1])):
        with tifffile.TiffWriter(tmp_path / name) as tiff:
            for section, turn in zip(STACK, turns, strict=True):
                tiff.write(section, metadata=None, contiguous=False, extratags=[(274, "H", 1, turn, True)])
    volume = io.read(tmp_path / "alike.tif")
    np.testing.assert_array_equal(whole(volume), STACK)
    assert "alike.tif states orientation 4: pixels are kept as they are stored" in said(volume)
    refused(tmp_path / "mixed.tif", r"orientations \[1, 4\]; turn them alike")
