"""What was exported comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_emsynth import interpolate, write
from napari_emsynth.plugin.copy_as_code import read_code
from napari_emsynth.plugin.layers.convert import PROVENANCE_KEY, is_companion, volume_of
from napari_emsynth.plugin.reader import contrast_of, get_reader
from napari_emsynth.plugin.viewer.preferences import PLUGIN
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.volume import Known, Volume

VOXEL_NM = (28.0, 11.24, 11.24)


def test_each_channel_of_a_file_becomes_a_layer(raw_viewer: Any, stack: Any, tmp_path: Path) -> None:
    channels = np.stack([stack, 255 - stack])
    tifffile.imwrite(tmp_path / "in.ome.tif", channels, metadata={"axes": "CZYX"})
    first, second = raw_viewer.open(str(tmp_path / "in.ome.tif"), plugin=PLUGIN)
    assert (first.name, second.name) == ("in channel 0", "in channel 1")
    np.testing.assert_array_equal(np.asarray(second.data), channels[1])
    volume = volume_of(second)
    assert read_code(volume, "in.ome.tif")[-1] == "volume = es.read('in.ome.tif', channel=1)"
    Session.of(raw_viewer).close()


@pytest.mark.parametrize("name", ["out.ome.tif", "out.ome.zarr"])
def test_an_export_opened_by_napari_keeps_everything(raw_viewer: Any, stack: Any, tmp_path: Path, name: str) -> None:
    result = interpolate(stack, [5], method="linear", voxel_nm=VOXEL_NM)
    write(result, tmp_path / name)
    image, mask, width = raw_viewer.open(str(tmp_path / name), plugin=PLUGIN)
    assert (image.name, mask.name, width.name) == ("out", "out synthetic", "out uncertainty")
    np.testing.assert_array_equal(np.asarray(image.data), result.volume.data)
    np.testing.assert_array_equal(np.asarray(mask.data), result.synthetic.data)
    np.testing.assert_array_equal(np.asarray(width.data), result.uncertainty.data)
    for layer in (image, mask, width):
        assert tuple(layer.scale) == pytest.approx(VOXEL_NM)
        assert [str(unit) for unit in layer.units] == ["nanometer"] * 3
    assert image.metadata[PROVENANCE_KEY]["sections"][0]["section"] == 5
    assert list(image.contrast_limits) == [0, 255]
    assert mask.visible
    assert not width.visible
    assert (is_companion(image), is_companion(mask), is_companion(width)) == (False, True, True)
    Session.of(raw_viewer).close()


def test_origin_and_unknown_voxel_size(raw_viewer: Any, stack: Any, tmp_path: Path) -> None:
    volume = Volume.of(stack, voxel_nm=VOXEL_NM)
    write(replace(volume, grid=replace(volume.grid, origin_nm=(7.0, 0.0, 3.0))), tmp_path / "moved.ome.tif")
    write(Volume.of(stack), tmp_path / "plain.ome.tif")
    (moved,) = raw_viewer.open(str(tmp_path / "moved.ome.tif"), plugin=PLUGIN)
    (plain,) = raw_viewer.open(str(tmp_path / "plain.ome.tif"), plugin=PLUGIN)
    assert tuple(moved.translate) == pytest.approx((7.0, 0.0, 3.0))
    assert tuple(plain.scale) == (1, 1, 1)
    assert PROVENANCE_KEY not in plain.metadata
    Session.of(raw_viewer).close()


def test_contrast_of_wide_types() -> None:
    values = np.linspace(-500, 3000, 3 * 64 * 64).reshape(3, 64, 64).astype(np.int16)
    low, high = contrast_of(Volume.of(values))
    assert values[1].min() <= low < high <= values[1].max()
    assert contrast_of(Volume.of(np.full((3, 8, 8), np.nan, np.float32))) == (0.0, 1.0)


def test_what_is_empty_has_no_say_in_the_contrast() -> None:
    data = np.random.default_rng(0).normal(3000, 200, (5, 64, 80)).astype(np.uint16)
    plain = contrast_of(Volume.of(data))
    planted = data.copy()
    planted[:, :, :20] = 0
    assert contrast_of(Volume.of(planted)) == pytest.approx(plain, rel=0.05)
    missing = np.zeros(data.shape, np.uint8)
    missing[2] = 1
    data[2] = 0
    assert contrast_of(replace(Volume.of(data), known=Known(empty=missing)))[0] > 2000


def test_several_files_are_no_volume() -> None:
    assert get_reader(["a.ome.tif", "b.ome.tif"]) is None
