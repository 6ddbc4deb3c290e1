"""What is said of files and names that are nothing: one line, in words that a person knows."""

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

import napari_emsynth as es

WORDS = ("--sections", "2", "--method", "linear")


@pytest.mark.parametrize("name", ["e.tif", "e.mrc", "e.ome.tif", "e.rec"])
def test_an_empty_file(tmp_path, refused, name):
    (tmp_path / name).write_bytes(b"")
    assert f"{name} is empty: it has 0 bytes" in refused("detect", tmp_path / name)


def test_names_that_are_empty(stack, refused, tmp_path):
    assert "no file is named" in refused("interpolate", "", tmp_path / "out.zarr", *WORDS)
    assert "no file is named" in refused("interpolate", stack, "", *WORDS)
    with pytest.raises(es.InputError, match="no file is named"):
        es.read("")


def test_links_that_lead_nowhere(tmp_path, refused):
    (tmp_path / "broken.tif").symlink_to("nowhere.tif")
    assert "is a broken link: it leads to nowhere.tif" in refused("detect", tmp_path / "broken.tif")
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    assert "is a broken link: it leads to loop.tif" in refused("detect", tmp_path / "loop.tif")


def test_an_image_without_resolutions(tmp_path, refused):
    root = zarr.create_group(str(tmp_path / "none.zarr"))
    root.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": [], "datasets": []}]}
    assert "lists no resolution: datasets is empty" in refused("detect", tmp_path / "none.zarr")


def test_values_that_are_no_sections(tmp_path, refused):
    tifffile.imwrite(tmp_path / "t.tif", np.zeros((6, 1, 1), "u1"))
    assert "keeps its 6 x 1 x 1 values in pages that are no sections" in refused("detect", tmp_path / "t.tif")


@pytest.mark.parametrize("mode", [3, 4, 16, 101])
def test_modes_of_mrc_that_are_no_grey_values(tmp_path, refused, mode):
    path = tmp_path / "m.mrc"
    with mrcfile.new(path) as file:
        file.set_data(np.zeros((3, 8, 8), "f4"))
    data = bytearray(path.read_bytes())
    data[12:16] = mode.to_bytes(4, "little")
    path.write_bytes(data)
    said = refused("detect", path)
    assert f"holds voxels of mode {mode}, needs one of 0 (bytes), 1 (int16), 2 (float32)" in said


def test_leading_axes_of_length_one(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (4, 8, 9), dtype="u1")
    zarr.create_array(str(tmp_path / "a.zarr"), data=data[None, None])
    assert np.array_equal(es.read(tmp_path / "a.zarr").read(slice(None)), data)
    zarr.create_array(str(tmp_path / "b.zarr"), data=np.stack([data, data]))
    with pytest.raises(es.InputError, match="needs 3 axes"):
        es.read(tmp_path / "b.zarr")


def test_what_goes_beside_chooses_nothing(stack, tmp_path, refused):
    """The flags that choose are those of IN."""
    colours = tmp_path / "colours.tif"
    tifffile.imwrite(colours, np.zeros((16, 96, 96, 3), "u1"), photometric="rgb")
    said = refused("interpolate", stack, tmp_path / "o.zarr", "--mask", colours, "--method", "linear")
    assert "holds 3 channels or colours: --mask takes one grey volume" in said
    field = tmp_path / "u.npy"
    np.save(field, np.zeros((16, 2, 96, 96), "f4"))
    said = refused(
        "align",
        stack,
        tmp_path / "o.zarr",
        "--from-displacement",
        field,
        "--apply-to",
        f"{colours}={tmp_path / 'p.zarr'}",
    )
    assert "--apply-to takes one grey volume" in said


@pytest.mark.parametrize("insert", [(), ("--insert",)])
def test_no_section_leaves_the_volume_as_it_is(stack, tmp_path, emsynth, insert):
    """As where a search found none."""
    out = tmp_path / "out.zarr"
    answer = emsynth("interpolate", stack, out, "--sections", "", *insert, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["sections"] == []
    assert "nothing to replace" in answer.json["notices"][0]
    given, made = es.read(stack), es.read(out)
    assert np.array_equal(made.read(slice(None)), given.read(slice(None)))
    assert not made.known.synthetic[:].any()
    for volume in (given, given.read(slice(None))):
        result = es.interpolate(volume, [])
        assert np.array_equal(result.volume.read(slice(None)), given.read(slice(None)))
    patch = tmp_path / "p.patch.zarr"
    if not insert:
        assert emsynth("interpolate", stack, patch, "--sections", "", "--patch").code == 0
        assert es.read_patch(patch).boxes == ()
