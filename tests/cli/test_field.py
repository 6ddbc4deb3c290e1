"""``emsynth field``: from one format to another, and what is refused."""

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.io.fields import FIELD_SUFFIXES


@pytest.fixture
def moves(tmp_path, crop):
    """A stack's displacements as a plain array, two of its sections moved."""
    vectors = np.zeros((16, 2, 96, 96), "f4")
    vectors[3, 0], vectors[9, 1] = 1.5, -2.25
    np.save(tmp_path / "u.npy", vectors)
    return tmp_path / "u.npy"


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_every_format_moves_a_stack_alike(moves, stack, tmp_path, emsynth, suffix):
    there = tmp_path / f"v{suffix}"
    answer = emsynth("field", "convert", moves, there, "--voxel-size", "10,10,10", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["shape"] == [16, 96, 96]
    assert np.flatnonzero(answer.json["largest_px"]).tolist() == [3, 9]
    assert "moves 2 of 16 sections, by up to 2.25 px" in emsynth("field", "show", there).out
    for field, out in ((moves, "a.zarr"), (there, "b.zarr")):
        assert emsynth("align", stack, tmp_path / out, "--from-displacement", field).code == 0
    a, b = (es.read(tmp_path / out).read(slice(None)).astype(int) for out in ("a.zarr", "b.zarr"))
    assert np.abs(a - b).max() <= 1


@pytest.mark.parametrize("suffix", FIELD_SUFFIXES)
def test_an_alignment_writes_any_format(stack, tmp_path, emsynth, suffix):
    out, there = tmp_path / "out.zarr", tmp_path / f"v{suffix}"
    words = ("--method", "optical-flow", "--anyway", "--displacement", there)
    answer = emsynth("align", stack, out, *words)
    assert answer.code == 0, answer.err
    field = es.read_field(there)
    assert field.shape == (16, 96, 96)


def test_lengths_without_a_voxel_size_are_refused_before_anything_is_aligned(crop, tmp_path, emsynth, monkeypatch):
    def aligned(*args, **kwargs):
        pytest.fail("the stack is aligned")

    monkeypatch.setattr("napari_emsynth.methods.align.task.align", aligned)
    es.write(es.Volume.of(crop), tmp_path / "plain.tif")
    words = ("align", tmp_path / "plain.tif", tmp_path / "out.zarr", "--method", "optical-flow")
    answer = emsynth(*words, "--displacement", tmp_path / "v.mha")
    assert answer.code == 2
    assert "v.mha: its vectors are lengths in nm, and the voxel size is unknown; give --voxel-size" in answer.err
    assert [p.name for p in tmp_path.iterdir()] == ["plain.tif"]


def test_what_cannot_be_converted(moves, tmp_path, refused):
    assert "--voxel-size" in refused("field", "convert", moves, tmp_path / "v.nrrd")
    assert "needs .npy, .zarr" in refused("field", "convert", moves, tmp_path / "v.tif")
    assert "same file" in refused("field", "convert", moves, moves, "--overwrite")
    assert "does not exist" in refused("field", "show", tmp_path / "none.npy")
    (tmp_path / "v.npy").write_bytes(b"")
    assert "exists" in refused("field", "convert", moves, tmp_path / "v.npy")
