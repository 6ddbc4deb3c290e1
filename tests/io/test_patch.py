"""Patches: what is put in is what writing the whole would give, what is taken out leaves no trace."""

import json
import shutil
import warnings

import numpy as np
import pytest
import zarr

import napari_emsynth as es
from napari_emsynth.io.patch import apply_patch, patched, read_patch, undo_patch, write_patch
from napari_emsynth.io.zarr.read import PATCHES
from napari_emsynth.spec import CancelToken

SHAPE = (24, 270, 264)
VOXEL = (10.0, 8.0, 8.0)


def tissue(dtype="u1", seed=0):
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-9, 10, SHAPE), axis=0).clip(-120, 120) + 128
    return walk.astype(dtype) if np.dtype(dtype).kind != "f" else (walk / 7).astype(dtype)


def repair(volume, sections=(20, 21), mask=None):
    return es.interpolate(volume, sections=sections, mask=mask, method="linear", selfcheck=False)


def arrays(path, of="volume"):
    """Return every array of a Zarr but what patches keep, by name."""
    root = zarr.open_group(str(path), mode="r", use_consolidated=False)
    return {name: node[:] for name, node in root.members(max_depth=None) if isinstance(node, zarr.Array)
            and not name.startswith(PATCHES)}  # fmt: skip


def attributes(path):
    root = zarr.open_group(str(path), mode="r", use_consolidated=False)
    groups = {name: node.attrs.asdict() for name, node in root.members(max_depth=None)}
    return groups | {"": root.attrs.asdict()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture
def stack(tmp_path):
    path = tmp_path / "stack.ome.zarr"
    es.write(es.Volume.of(tissue(), voxel_nm=VOXEL), path)
    return path


@pytest.fixture
def patch(stack, tmp_path):
    volume = es.read(stack)
    write_patch(repair(volume), volume, tmp_path / "p.patch.zarr")
    return read_patch(tmp_path / "p.patch.zarr")


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_put_in_is_what_writing_the_whole_gives(tmp_path, dtype):
    es.write(es.Volume.of(tissue(dtype), voxel_nm=VOXEL), tmp_path / "a.zarr")
    volume = es.read(tmp_path / "a.zarr")
    result = repair(volume)
    es.write(result, tmp_path / "whole.zarr")
    write_patch(result, volume, tmp_path / "p.patch.zarr")
    before, said = arrays(tmp_path / "a.zarr"), attributes(tmp_path / "a.zarr")
    patch = read_patch(tmp_path / "p.patch.zarr")
    answer = apply_patch(patch, tmp_path / "a.zarr")
    assert answer["sections"] == [20, 21]
    assert_same(arrays(tmp_path / "a.zarr"), arrays(tmp_path / "whole.zarr"))
    there, whole = (es.read(tmp_path / name) for name in ("a.zarr", "whole.zarr"))
    assert there.record["sections"] == whole.record["sections"]
    assert there.record["patch"] == patch.id
    assert there.metadata["notices"] == ()
    undo_patch(patch, tmp_path / "a.zarr")
    assert_same(arrays(tmp_path / "a.zarr"), before)
    assert attributes(tmp_path / "a.zarr") == said


def test_regions_that_share_voxels(tmp_path, stack):
    volume = es.read(stack)
    mask = np.zeros(SHAPE, "u1")
    mask[12, 20:60, 20:24] = mask[12, 56:60, 20:90] = mask[12, 30:33, 40:50] = 1  # one window holds the other
    mask[13, 20:60, 20:24] = mask[15, 250:, 250:] = 1
    result = repair(volume, sections=(5,), mask=mask)
    es.write(result, tmp_path / "whole.zarr")
    write_patch(result, volume, tmp_path / "p.patch.zarr")
    patch = read_patch(tmp_path / "p.patch.zarr")
    assert patch.sections == [5, 12, 13, 15]
    before = arrays(stack)
    apply_patch(patch, stack)
    assert_same(arrays(stack), arrays(tmp_path / "whole.zarr"))
    undo_patch(patch, stack)
    assert_same(arrays(stack), before)


def test_a_patch_holds_no_more_than_what_changed(patch, stack):
    assert patch.sections == [20, 21]
    assert patch.voxels == 2 * SHAPE[1] * SHAPE[2]
    assert [list(map(tuple, box)) for box in patch.to_json()["boxes"]] == [[(20, 22), (0, 270), (0, 264)]]
    assert np.array_equal(patch.arrays[0]["old"][:], es.read(stack).read(slice(20, 22)))
    assert patch.marks == ("synthetic", "uncertainty")


def test_what_is_seen_is_what_would_be_written(patch, stack):
    seen = patched(es.read(stack), patch)
    assert seen.is_lazy
    apply_patch(patch, stack)
    written = es.read(stack)
    assert np.array_equal(seen.read(slice(None)), written.read(slice(None)))
    for name, array in written.known.marks.items():
        assert np.array_equal(es.Volume.of(seen.known.marks[name]).read(slice(None)), array[:]), name
    assert seen.record == written.record


def test_two_patches_and_earlier_marks(tmp_path, stack):
    """A second one never unmarks the first; they come out in the reverse order, and nothing is left of them."""
    states, patches = [(arrays(stack), attributes(stack))], []
    for k, sections in enumerate([(20,), (21, 3)]):
        volume = es.read(stack)
        write_patch(repair(volume, sections), volume, tmp_path / f"{k}.patch.zarr")
        patches.append(read_patch(tmp_path / f"{k}.patch.zarr"))
        apply_patch(patches[k], stack)
        states.append((arrays(stack), attributes(stack)))
    marked = np.flatnonzero(es.read(stack).known.synthetic[:].any((1, 2)))
    assert marked.tolist() == [3, 20, 21]
    assert es.read(stack).record["previous"]["patch"] == patches[0].id
    with pytest.raises(es.InputError, match="another patch put in after"):
        undo_patch(patches[0], stack)
    for k in (1, 0):
        undo_patch(patches[k], stack)
        found, said = states[k]
        assert_same(arrays(stack), found)
        assert attributes(stack) == said


def test_a_volume_that_changed_is_refused(patch, stack):
    array = zarr.open_group(str(stack), mode="r+")["0"]
    was = int(array[21, 269, 263])
    array[21, 269, 263] = was ^ 1
    before = arrays(stack)
    with pytest.raises(es.InputError, match=r"changed since the patch was made: section\(s\) 21 hold"):
        apply_patch(patch, stack)
    assert_same(arrays(stack), before)
    assert attributes(stack).get("", {}).get(PATCHES) is None
    array[21, 269, 263] = was
    apply_patch(patch, stack)
    array[20, 0, 0] = int(array[20, 0, 0]) ^ 1
    with pytest.raises(es.InputError, match=r"changed since the patch was put in: section\(s\) 20 hold"):
        undo_patch(patch, stack)


def test_other_volumes_are_refused(patch, tmp_path):
    for name, volume, said in (
        ("shape", es.Volume.of(tissue()[1:]), "of a volume of 24 x 270 x 264 voxels, and .* has 23 x 270 x 264"),
        ("type", es.Volume.of(tissue("u2")), "patch of uint8 voxels, and .* holds uint16"),
        ("size", es.Volume.of(tissue(), voxel_nm=(10, 4, 4)), "voxels of 10, 8, 8 nm, and .* 10, 4, 4 nm"),
    ):
        es.write(volume, tmp_path / f"{name}.zarr")
        with pytest.raises(es.InputError, match=said):
            apply_patch(patch, tmp_path / f"{name}.zarr")
    es.write(es.Volume.of(tissue(), voxel_nm=VOXEL), tmp_path / "t.tif")
    with pytest.raises(es.InputError, match="no Zarr"):
        apply_patch(patch, tmp_path / "t.tif")
    with pytest.raises(es.InputError, match="not put into"):
        undo_patch(patch, tmp_path / "stack.ome.zarr")


def test_put_in_twice_is_put_in_once(patch, stack):
    apply_patch(patch, stack)
    found, said = arrays(stack), []
    assert apply_patch(patch, stack, note=said.append)["blocks"] == 0
    assert said == [f"{patch.path} is in {stack} already"]
    assert_same(arrays(stack), found)


class Stop(CancelToken):
    """Stops the job when it was asked so many times."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def check(self):
        self.left -= 1
        if self.left < 0:
            raise es.Cancelled("stopped")


@pytest.mark.parametrize("onwards", ["apply", "undo"])
def test_a_stop_anywhere_can_be_gone_on_with(patch, stack, tmp_path, onwards):
    before, said = arrays(stack), attributes(stack)
    whole = tmp_path / "whole.zarr"
    shutil.copytree(stack, whole)
    apply_patch(patch, whole)
    stops = 0
    while True:
        place = tmp_path / "at.zarr"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(stack, place)
        try:
            apply_patch(patch, place, cancel=Stop(3 * stops))
        except es.Cancelled:
            stops += 1
        else:
            break
        if onwards == "apply":
            apply_patch(patch, place)
            assert_same(arrays(place), arrays(whole))
        else:
            with pytest.raises(es.Cancelled):
                undo_patch(patch, place, cancel=Stop(stops % 5))
            undo_patch(patch, place)
            assert_same(arrays(place), before)
            assert attributes(place) == said
    assert stops > 5


@pytest.mark.parametrize("kind", [2, 3])
def test_zarr_of_others(tmp_path, kind):
    """Five axes, another pyramid, Zarr v2 or v3, consolidated metadata, labels of its own."""
    path, data = tmp_path / "other.zarr", tissue("u2")
    root = zarr.create_group(str(path), zarr_format=kind)
    chunks = {"chunks": (1, 1, 8, 64, 64)} | ({} if kind == 2 else {"shards": (1, 1, 16, 128, 128)})
    root.create_array("s0", data=data[None, None], **chunks)
    root.create_array("s1", data=data[None, None, :, ::2, ::2], **chunks)
    root.create_array("odd", data=data[None, None, :, ::3, :100], **chunks)
    root.create_array("labels/cells/0", data=(data > 128).astype("u1")[None, None])
    axes = [{"name": n, "type": t} for n, t in zip("tczyx", ("time", "channel", *["space"] * 3), strict=True)]
    axes = [axis | ({"unit": "nanometer"} if axis["name"] in "zyx" else {}) for axis in axes]
    sets = [{"path": p, "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 10, 8 * f, 8 * f]}]}
            for p, f in (("s0", 1), ("s1", 2), ("odd", 3))]  # fmt: skip
    said = {"multiscales": [{"name": "other", "axes": axes, "datasets": sets, "version": "0.4"}]}
    root.attrs.update(said if kind == 2 else {"ome": {"version": "0.5", **said}})
    root["labels"].attrs.update(
        {"labels": ["cells"]} if kind == 2 else {"ome": {"version": "0.5", "labels": ["cells"]}}
    )
    with warnings.catch_warnings(action="ignore"):  # of Zarr v3 it is no part
        zarr.consolidate_metadata(str(path), zarr_format=kind)
    volume = es.read(path)
    write_patch(repair(volume), volume, tmp_path / "p.patch.zarr")
    patch = read_patch(tmp_path / "p.patch.zarr")
    before, attrs = arrays(path), attributes(path)
    answer = apply_patch(patch, path)
    assert answer["levels_left"] == ["odd"]
    mended = es.read(path)
    assert np.array_equal(mended.data[20], patch.arrays[0]["new"][0])
    assert np.flatnonzero(mended.known.synthetic[:].any((1, 2))).tolist() == [20, 21]
    coarse = zarr.open_group(str(path), mode="r")["s1"]
    assert not np.array_equal(coarse[0, 0, 20], data[20, ::2, ::2])
    assert np.array_equal(coarse[0, 0, 19], data[19, ::2, ::2])
    undo_patch(patch, path)
    assert_same(arrays(path), before)
    assert attributes(path) == attrs


def test_a_bare_array_takes_the_voxels(tmp_path):
    path, data = tmp_path / "bare.zarr", tissue()
    zarr.create_array(str(path), data=data, chunks=(8, 64, 64))
    volume = es.read(path)
    write_patch(repair(volume), volume, tmp_path / "p.patch.zarr")
    patch, said = read_patch(tmp_path / "p.patch.zarr"), []
    apply_patch(patch, path, note=said.append)
    assert "bare array" in said[0]
    assert np.array_equal(es.read(path).data[20], patch.arrays[0]["new"][0])
    undo_patch(patch, path)
    assert np.array_equal(es.read(path).data[:], data)


def test_results_on_another_grid_are_refused(stack, tmp_path):
    volume = es.read(stack)
    for result in (es.interpolate(volume, sections=[3], insert=True, method="linear", selfcheck=False),
                   es.upsample(volume, 2, method="linear", selfcheck=False)):  # fmt: skip
        with pytest.raises(es.InputError, match="write the result whole"):
            write_patch(result, volume, tmp_path / "p.patch.zarr")
    assert not (tmp_path / "p.patch.zarr").exists()


def test_names_and_damage(patch, stack, tmp_path):
    volume = es.read(stack)
    with pytest.raises(es.InputError, match=r"must end in \.patch\.zarr"):
        write_patch(repair(volume), volume, tmp_path / "p.zarr")
    with pytest.raises(es.InputError, match="is a patch, no volume"):
        es.read(patch.path)
    with pytest.raises(es.InputError, match="is no patch"):
        read_patch(stack)
    place = patch.path / "zarr.json"
    said = json.loads(place.read_text())
    said["attributes"]["emsynth_patch"]["format"] = 2
    place.write_text(json.dumps(said))
    with pytest.raises(es.InputError, match="format 2, this version reads format 1"):
        read_patch(patch.path)


@pytest.mark.parametrize("name", ["old", "new", "synthetic"])
def test_a_patch_that_lost_a_chunk_is_refused(patch, stack, name):
    """It would read as zeros, and be written so."""
    chunk = next(p for p in (patch.path / "pieces" / "0" / name / "c").rglob("*") if p.is_file())
    chunk.unlink()
    before = arrays(stack)
    with pytest.raises(es.InputError, match="is damaged: its voxels are not those that were written"):
        apply_patch(read_patch(patch.path), stack)
    assert_same(arrays(stack), before)


def test_a_damaged_chunk_of_the_volume_is_named(patch, stack):
    chunk = next(p for p in sorted((stack / "0" / "c" / "1").rglob("*")) if p.is_file())
    chunk.write_bytes(b"\x28\xb5\x2f\xfdnonsense")
    with pytest.raises(es.InputError, match=r"stack.ome.zarr/0: section 20 cannot be read"):
        apply_patch(patch, stack)


def test_what_lies_elsewhere_is_not_changed(patch):
    with pytest.raises(es.InputError, match=r"cannot write s3://lab/x\.zarr"):
        apply_patch(patch, "s3://lab/x.zarr")
