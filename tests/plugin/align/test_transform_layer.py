"""Layers that follow an alignment: ids, numbers and features stay; details land where the image's land."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Shapes, Tracks

from napari_emsynth.errors import InputError
from napari_emsynth.fields.algebra import inverse
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.plugin.align.transform_layer import Home, follower
from napari_emsynth.spec import Runtime

SHAPE = (3, 40, 60)
RECORD = {"task": "align", "method": "test"}
SPACE: dict[str, Any] = {"scale": (4, 2, 2), "translate": (8, 3, 5)}
# Sections 0 to 2: still, three rows up, four columns to the left and two rows down.
SHIFTS = ((0.0, 0.0), (3.0, 0.0), (-2.0, 4.0))


@pytest.fixture
def field() -> Displacement:
    data = np.empty((3, 2, 5, 6), np.float32)
    data[:] = np.array(SHIFTS, np.float32)[:, :, None, None]
    return Displacement(data, SHAPE, (4, 2, 2))


@pytest.fixture
def home() -> Home:
    return Home.of(Image(np.zeros(SHAPE), contrast_limits=(0, 1), name="stack", **SPACE))


def moved(layer: Any, home: Home, field: Displacement) -> Any:
    return follower(layer, home, "aligned")(field, RECORD, Runtime())


def test_labels_keep_their_ids_and_look(home: Home, field: Displacement) -> None:
    data = np.zeros(SHAPE, np.uint32)
    data[:, 10:20, 20:30] = 70_000
    data[:, 25:30, 5:9] = 3
    layer = Labels(data.copy(), name="cells", opacity=0.4, **SPACE)
    made = moved(layer, home, field)
    assert made.name == "cells aligned"
    assert set(np.unique(made.data)) == {0, 3, 70_000}
    np.testing.assert_array_equal(made.data[0], data[0])
    np.testing.assert_array_equal(made.data[1][:-3], data[1][3:])
    assert (made.opacity, tuple(made.scale), tuple(made.translate)) == (0.4, (4, 2, 2), (8, 3, 5))
    assert made.metadata["emsynth"]["carried"]["interpolation"] == "nearest"
    np.testing.assert_array_equal(layer.data, data)


def test_points_land_where_the_details_land(home: Home, field: Displacement) -> None:
    image = np.zeros(SHAPE, np.float32)
    places = np.array([[0, 12, 14], [1, 20, 33], [2, 30, 50]])
    image[tuple(places.T)] = 1.0
    world = places * [4, 2, 2] + [8, 3, 5]
    # Points of another scale: in the world they are at the same places.
    points = Points(world / [4, 1, 1], scale=(4, 1, 1), features={"id": [5, 6, 7]}, name="synapses")
    made = moved(points, home, field)
    drawn = moved(Image(image, contrast_limits=(0, 1), **SPACE), home, field).data
    found = np.array([np.unravel_index(np.nanargmax(drawn[z]), SHAPE[1:]) for z in range(3)])
    ours = (made.data * [4, 1, 1] - [8, 3, 5]) / [4, 2, 2]
    np.testing.assert_allclose(ours[:, 1:], found, atol=1e-6)
    np.testing.assert_allclose(ours[:, 0], [0, 1, 2])
    assert list(made.features["id"]) == [5, 6, 7]


def test_shapes_keep_number_and_features(home: Home, field: Displacement) -> None:
    square = np.array([[1, 10, 10], [1, 10, 20], [1, 20, 20], [1, 20, 10]], float)
    shapes = Shapes(
        [square, square, square[:2], square[:3]], shape_type=["rectangle", "ellipse", "line", "path"],
        features={"kind": list("abcd")}, **SPACE,
    )  # fmt: skip
    made = moved(shapes, home, field)
    assert list(made.shape_type) == ["polygon", "polygon", "path", "path"]
    assert list(made.features["kind"]) == list("abcd")
    for before, after in zip(shapes.data, made.data, strict=True):
        assert after[:, 0].min() == after[:, 0].max() == 1
        np.testing.assert_allclose(after[:, 1:].min(axis=0), before[:, 1:].min(axis=0) - [3, 0], atol=0.02)
        np.testing.assert_allclose(after[:, 1:].max(axis=0), before[:, 1:].max(axis=0) - [3, 0], atol=0.02)


def test_a_coarser_copy_follows_by_the_same_lengths(home: Home, field: Displacement) -> None:
    coarse = np.zeros((3, 20, 30), np.float32)
    coarse[1, 8:12, 8:12] = 1.0
    layer = Image(coarse, contrast_limits=(0, 1), scale=(4, 4, 4), translate=(8, 4, 6))
    made = moved(layer, home, field)
    rows = np.average(np.arange(20), weights=np.nan_to_num(made.data[1]).clip(0).sum(axis=1))
    assert rows == pytest.approx(9.5 - 1.5, abs=0.02)


def test_the_inverse_brings_everything_back(home: Home, field: Displacement) -> None:
    points = Points(np.array([[1, 20.0, 33.0], [2, 15.0, 25.0]]), **SPACE)
    there = moved(points, home, field)
    np.testing.assert_allclose(moved(there, home, inverse(field)).data, points.data, atol=1e-3)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Labels(np.zeros((3, 40, 30), np.uint8), name="half", **SPACE), "does not cover the aligned stack"),
        (Labels(np.zeros((2, 40, 60), np.uint8), **SPACE), "same sections"),
        (Labels(np.zeros(SHAPE, np.uint8), name="unscaled"), "check its scale"),
        (Labels(np.zeros((40, 60), np.uint8), name="flat"), "has 2 axes"),
        (Image(np.zeros((3, 40, 60, 3), np.uint8), rgb=True), "is RGB"),
        (Tracks(np.array([[1, 0, 2, 3.0], [1, 1, 2, 3]])), "is a tracks layer"),
    ],
)
def test_what_cannot_follow_is_one_line(home: Home, layer: Any, words: str) -> None:
    with pytest.raises(InputError) as refused:
        follower(layer, home, "aligned")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
