"""``emsynth patch`` and ``--patch``: from file to file, and what is refused."""

import numpy as np
import pytest

import napari_emsynth as es


@pytest.fixture
def stack(tmp_path):
    rng = np.random.default_rng(0)
    voxels = np.cumsum(rng.integers(-9, 10, (16, 48, 40)), axis=0).clip(-120, 120) + 128
    return es.write(es.Volume.of(voxels.astype("u1"), voxel_nm=(20, 8, 8)), tmp_path / "stack.zarr")


QUICK = ("--method", "linear")


def test_there_and_back(stack, tmp_path, emsynth):
    patch, before = tmp_path / "p.patch.zarr", es.read(stack).read(slice(None))
    answer = emsynth("interpolate", stack, patch, "--sections", "7", "--patch", "--json", *QUICK)
    assert answer.json["sections"] == [7]
    shown = emsynth("patch", "show", patch, "--json").json
    assert (shown["sections"], shown["shape"], shown["method"]) == ([7], [16, 48, 40], "linear")
    assert "7" in emsynth("patch", "show", patch).out
    assert emsynth("patch", "undo", patch, stack).code == 2
    assert emsynth("patch", "apply", patch, stack, "--json").json["patches"] == [shown["id"]]
    mended = es.read(stack)
    assert np.array_equal(mended.read(slice(None)), es.interpolate(before, [7], method="linear").volume.data)
    assert mended.record["patch"] == shown["id"]
    assert emsynth("patch", "undo", patch, stack).code == 0
    assert np.array_equal(es.read(stack).read(slice(None)), before)
    assert es.read(stack).known is None


def test_a_field_moves_few_sections(stack, tmp_path, emsynth):
    """Only the sections that an alignment moves are in its patch."""
    vectors = np.zeros((16, 2, 48, 40), "f4")
    vectors[[3, 9]] = 1.5
    np.save(tmp_path / "u.npy", vectors)
    patch, whole = tmp_path / "p.patch.zarr", tmp_path / "whole.zarr"
    asked = ("--from-displacement", tmp_path / "u.npy")
    assert emsynth("align", stack, patch, "--patch", *asked).code == 0
    assert emsynth("align", stack, whole, *asked).code == 0
    assert es.read_patch(patch).sections == [3, 9]
    assert emsynth("patch", "apply", patch, stack).code == 0
    assert np.array_equal(es.read(stack).read(slice(None)), es.read(whole).read(slice(None)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("p.zarr", "--sections", "7", "--patch"), "must end in .patch.zarr"),
        (("p.patch.zarr", "--sections", "7", "--patch", "--insert"), "write the result whole"),
        (("p.patch.zarr", "--sections", "7", "--patch", "--resume"), "a patch is written anew"),
    ],
)
def test_what_is_no_patch_is_refused(stack, tmp_path, emsynth, words, said):
    out, *flags = words
    answer = emsynth("interpolate", stack, tmp_path / out, *flags, *QUICK)
    assert answer.code == 2
    assert said in answer.err
    assert [p.name for p in tmp_path.iterdir()] == ["stack.zarr"]


def test_other_outputs_beside_a_patch_are_refused(stack, tmp_path, emsynth):
    answer = emsynth("align", stack, tmp_path / "p.patch.zarr", "--patch", "--displacement", tmp_path / "u.npy")
    assert answer.code == 2
    assert "--patch writes one file" in answer.err


def test_the_group_alone_lists_its_commands(emsynth):
    answer = emsynth("patch")
    assert answer.code == 0
    assert {"apply", "undo", "show"} <= set(answer.out.split())
    assert answer.err == ""
