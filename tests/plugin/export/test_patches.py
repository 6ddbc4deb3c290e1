"""Patches in the window: saved from a repair, seen over the stack, put into its file, taken out again."""

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox

import napari_emsynth as es
from napari_emsynth.io.patch import read_patch, write_patch
from napari_emsynth.plugin import commands
from napari_emsynth.plugin.export import patches


@pytest.fixture
def stack(tmp_path):
    rng = np.random.default_rng(0)
    voxels = np.cumsum(rng.integers(-9, 10, (16, 48, 40)), axis=0).clip(-120, 120) + 128
    path = tmp_path / "stack.ome.zarr"
    es.write(es.Volume.of(voxels.astype("u1"), voxel_nm=(20, 8, 8)), path)
    return path


@pytest.fixture
def patch(stack, tmp_path):
    volume = es.read(stack)
    result = es.interpolate(volume, sections=[7], method="linear", selfcheck=False)
    return write_patch(result, volume, tmp_path / "seven.patch.zarr")


@pytest.fixture
def layer(viewer, session, stack):
    return viewer.open(str(stack), plugin="napari-emsynth")[0]


def test_a_patch_is_seen_over_the_stack_and_nothing_is_written(viewer, session, layer, patch, stack):
    before = es.read(stack).read(slice(None))
    seen, mask, *_ = viewer.open(str(patch), plugin="napari-emsynth")
    assert seen.name == "stack with seven"
    assert np.allclose(seen.scale, layer.scale)
    assert np.array_equal(np.asarray(seen.data[7]), read_patch(patch).arrays[0]["new"][0])
    assert np.array_equal(np.delete(np.asarray(seen.data), 7, 0), np.delete(before, 7, 0))
    assert np.flatnonzero(np.asarray(mask.data).any((1, 2))).tolist() == [7]
    assert np.array_equal(es.read(stack).read(slice(None)), before)


def test_a_patch_of_what_is_not_open_is_refused(viewer, session, patch):
    with pytest.raises(es.InputError, match=r"patch of stack \(16 x 48 x 40 voxels\): open that first"):
        patches.over_any(viewer, patch)


def test_a_file_is_changed_in_place_and_back(viewer, session, layer, patch, stack, finish, monkeypatch):
    before = np.asarray(layer.data[7])
    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(patch))
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: asked.append(words[2]) or QMessageBox.StandardButton.Yes
    )
    commands.apply_patch(viewer)
    finish(session)
    new = read_patch(patch).arrays[0]["new"][0]
    assert np.array_equal(np.asarray(layer.data[7]), new)
    assert layer.metadata["emsynth"]["patch"] == read_patch(patch).id
    commands.undo_patch(viewer)
    finish(session)
    assert np.array_equal(np.asarray(layer.data[7]), before)
    assert "emsynth" not in layer.metadata or layer.metadata["emsynth"] is None
    assert [words.split(" ", 1)[0] for words in asked] == ["Put", "Take"]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
    commands.apply_patch(viewer)
    finish(session)
    assert np.array_equal(es.read(stack).data[7], before)


def test_a_repair_is_saved_as_a_patch(viewer, session, repairs, layer, stack, tmp_path, finish, monkeypatch):
    viewer.layers.selection.active = layer
    repairs.mark(layer, 7)
    viewer.dims.set_point(0, 7 * 20)
    commands.interpolate_section(viewer)
    finish(session)
    out = tmp_path / "mine.patch.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(out), ""))
    commands.save_patch(viewer)
    finish(session)
    saved = read_patch(out)
    assert saved.sections == [7]
    assert np.array_equal(saved.arrays[0]["old"][0], es.read(stack).data[7])
    assert saved.grid.voxel_nm == (20, 8, 8)


def test_what_has_no_source_is_no_patch(viewer, session, layer, tmp_path):
    said = []
    session.noticed.connect(lambda lines, _method: said.extend(lines))
    assert session.export(layer, tmp_path / "x.patch.zarr") is None
    assert "shows no result" in said[0]
