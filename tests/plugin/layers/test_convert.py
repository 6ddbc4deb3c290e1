"""From layers to volumes and back: what is accepted, what is refused, what a result keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels, Shapes

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.plugin.layers.convert import Placement, current_section, section_at, section_translate, volume_of
from napari_emsynth.plugin.layers.masks import draw, ellipse, outlines

SHAPE = (5, 8, 9)
# napari says of any rotated or sheared 3-D layer that it shows it untilted; where it lies is what counts here.
tilted = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")


def read(layer: Any, channel: int | None = None) -> np.ndarray:
    return volume_of(layer, channel).read(slice(None))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", ">u2"])
def test_numpy_layers_are_not_copied(dtype: str) -> None:
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    volume = volume_of(Image(data))
    assert volume.data is data
    np.testing.assert_array_equal(volume.read(slice(1, 3)), data[1:3])


@pytest.mark.parametrize("store", ["dask", "zarr", "memmap"])
def test_stored_layers_stay_stored(store: str, tmp_path: Any) -> None:
    data = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    if store == "dask":
        stored: Any = da.from_array(data, chunks=(1, 8, 9))
    elif store == "zarr":
        stored = zarr.array(data)
    else:
        stored = np.memmap(tmp_path / "m", np.uint16, "w+", shape=SHAPE)
        stored[:] = data
    volume = volume_of(Image(stored, contrast_limits=(0, 400)))
    assert type(volume.data) is type(stored)
    np.testing.assert_array_equal(volume.read(slice(None)), data)


def test_multiscale_gives_full_resolution() -> None:
    data = np.arange(8 * 16 * 16, dtype=np.uint16).reshape(8, 16, 16)
    layer = Image([data, data[:, ::2, ::2]], multiscale=True, contrast_limits=(0, 400))
    np.testing.assert_array_equal(read(layer), data)


def test_a_channel_of_four_axes() -> None:
    data = np.arange(3 * np.prod(SHAPE), dtype=np.uint16).reshape(3, *SHAPE)
    layer = Image(data, scale=(1, 4, 2, 2), units=("s", "nm", "nm", "nm"))
    np.testing.assert_array_equal(read(layer, 2), data[2])
    assert volume_of(layer, 1).grid.voxel_nm == (4, 2, 2)
    with pytest.raises(InputError, match="channel or time from 0 to 2"):
        volume_of(layer)
    with pytest.raises(InputError, match="channel 7 is outside 0 to 2"):
        volume_of(layer, 7)


@pytest.mark.parametrize(
    ("layer", "line"),
    [(None, "no layer is chosen"),
     (Image(np.zeros((4, 5))), "has 2 axes"),
     (Image(np.zeros((4, 5, 6, 3), np.uint8), rgb=True), "is RGB"),
     (Image(np.zeros((2, 2, 3, 4, 5))), "has 5 axes"),
     (Labels(np.zeros(SHAPE, np.uint8)), "is a labels layer")],
)  # fmt: skip
def test_what_cannot_be_restored_is_refused_in_one_line(layer: Any, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        volume_of(layer)
    assert "\n" not in str(caught.value)


def test_voxel_size_comes_from_units() -> None:
    data = np.zeros(SHAPE, np.uint8)
    assert volume_of(Image(data, scale=(0.03, 0.01, 0.01), units=["um"] * 3)).grid.voxel_nm == pytest.approx(
        (30, 10, 10)
    )
    assert volume_of(Image(data, scale=(30, 10, 10))).grid.voxel_nm is None, "pixels are no length"


def test_the_origin_comes_from_where_a_layer_lies(tmp_path: Path) -> None:
    data, space = np.zeros(SHAPE, np.uint8), {"scale": (0.03, 0.01, 0.01), "translate": (-0.012, 0.5, 2)}
    layer = Image(data, units=["um"] * 3, **space)
    volume = volume_of(layer)
    assert volume.grid.origin_nm == pytest.approx((-12, 500, 2000))
    there = io.read(io.write(volume, tmp_path / "there.ome.zarr"))
    assert there.grid.origin_nm == pytest.approx(volume.grid.origin_nm), "a file keeps it"
    many = Image(data[None], scale=(1, 30, 10, 10), translate=(5, 7, 8, 9), units=["s", "nm", "nm", "nm"])
    assert volume_of(many, 0).grid.origin_nm == (7, 8, 9)
    assert volume_of(Image(data, translate=(1, 2, 3))).grid.origin_nm == (0, 0, 0), "pixels are no length"


def transformed(data: np.ndarray) -> Image:
    return Image(
        data, scale=(4, 2, 2), translate=(10, -3, 7), rotate=(10, 20, 30), shear=(0.1, 0.2, 0.3),
        affine=np.array([[1, 0.1, 0, 2], [0, 1, 0, 3], [0, 0, 1, 4], [0, 0, 0, 1.0]]), units=["nm"] * 3,
        axis_labels=("z", "y", "x"), colormap="magma", contrast_limits=(3, 90), gamma=0.7, blending="additive",
        opacity=0.8,
    )  # fmt: skip


@tilted
def test_a_result_lies_on_its_source_and_looks_like_it() -> None:
    source = transformed(np.zeros(SHAPE, np.uint8))
    placement = Placement.of(source)
    result = Image(np.ones(SHAPE, np.uint8), **placement.space, **placement.look)
    for corner in np.ndindex(2, 2, 2):
        index = np.array(corner) * (np.array(SHAPE) - 1)
        np.testing.assert_allclose(result.data_to_world(index), source.data_to_world(index), atol=1e-9)
    assert result.units == source.units
    assert result.axis_labels == source.axis_labels
    for name in ("gamma", "blending", "opacity", "contrast_limits"):
        assert getattr(result, name) == getattr(source, name)
    assert result.colormap.name == "magma"


@tilted
def test_a_preview_lies_on_its_section() -> None:
    source = transformed(np.zeros(SHAPE, np.uint8))
    space = {**Placement.of(source).space, "translate": section_translate(source, 3)}
    preview = Image(np.zeros((1, 8, 9), np.uint8), **space)
    np.testing.assert_allclose(preview.data_to_world((0, 2, 5)), source.data_to_world((3, 2, 5)), atol=1e-9)


def test_the_section_under_the_pointer() -> None:
    layer = Image(np.zeros(SHAPE, np.uint8), scale=(4, 2, 2), translate=(10, 0, 0))
    assert section_at(layer, (10 + 4 * 3 + 1.9, 5, 5)) == 3
    assert section_at(layer, (10 + 4 * 4 + 3, 5, 5)) is None
    assert section_at(layer, (2.0, 10, 5, 5)) == 0, "the last axes count"


def test_the_section_on_screen(raw_viewer: Any) -> None:
    layer = raw_viewer.add_image(np.zeros(SHAPE, np.uint8), scale=(4, 2, 2))
    raw_viewer.dims.set_point(0, 12)
    assert current_section(raw_viewer, layer) == 3


def test_shapes_become_masks() -> None:
    image = Image(np.zeros((5, 20, 20), np.uint8), scale=(4, 2, 2))
    square = np.array([[8, 4, 4], [8, 4, 20], [8, 20, 20], [8, 20, 4]], float)
    shapes = Shapes([square], shape_type="rectangle")
    masks = draw(outlines(shapes, image, 0), (5, 20, 20))
    assert list(masks) == [2]
    rows, columns = np.nonzero(masks[2])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 10, 2, 10)
    flat = Shapes([square[:, 1:]], shape_type="rectangle")
    assert list(draw(outlines(flat, image, 4), (5, 20, 20))) == [4]


def test_an_ellipse_fills_three_quarters_of_its_box() -> None:
    box = np.array([[0, 10, 10], [0, 10, 50], [0, 50, 50], [0, 50, 10]], float)
    shapes = Shapes([box], shape_type="ellipse")
    masks = draw(outlines(shapes, Image(np.zeros((1, 64, 64), np.uint8)), 0), (1, 64, 64))
    assert masks[0].sum() == pytest.approx(np.pi / 4 * 40 * 40, rel=0.03)
    assert ellipse(box).shape == (128, 3)
