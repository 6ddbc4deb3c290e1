"""What is drawn of a field: arrows and grids that say what the field says, a confidence that covers the stack."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.lattice import node_places
from napari_emsynth.plugin.align.displacement_view import (
    HIGHEST_MAGNIFICATION,
    MOST,
    confidence_layer,
    lines,
    magnification,
    sampled,
    vectors_layer,
    view_nodes,
)
from napari_emsynth.plugin.layers.convert import Placement

SHAPE = (3, 40, 60)
SPACE = Placement.of(Image(np.zeros(SHAPE), contrast_limits=(0, 1), scale=(4, 2, 2))).space


def shifted(dy: float, dx: float, nodes: tuple[int, int] = (4, 6)) -> np.ndarray:
    return np.broadcast_to(np.array([dy, dx], np.float32)[None, :, None, None], (3, 2, *nodes)).copy()


def test_arrows_run_from_where_tissue_was_to_where_it_lies() -> None:
    drawn, length = lines("arrows", shifted(3, 4), SHAPE, 2)
    assert drawn.shape == (3 * 4 * 6, 2, 3)
    np.testing.assert_allclose(drawn[:, 1], [[0, -6, -8]] * len(drawn))
    ends = drawn[:, 0] + drawn[:, 1]
    np.testing.assert_allclose(np.unique(ends[:, 1]), node_places(4, 40), rtol=1e-6)
    np.testing.assert_allclose(np.unique(ends[:, 2]), node_places(6, 60), rtol=1e-6)
    assert set(drawn[:, 0, 0]) == {0, 1, 2}, "each on its section"
    np.testing.assert_allclose(length, 5, rtol=1e-6)


def test_the_grid_is_the_field_and_square_without_one() -> None:
    flat, _ = lines("grid", shifted(0, 0), SHAPE, 1)
    assert len(flat) == 3 * (3 * 6 + 4 * 5)
    assert ((flat[:, 1] != 0).sum(axis=1) == 1).all(), "lines run along the axes"
    vectors = shifted(0, 0)
    vectors[1, 0, 2, 3] = 5.0
    bent, length = lines("grid", vectors, SHAPE, 2)
    moved = ~np.isclose(bent[:, 0], flat[:, 0]).all(axis=1)
    np.testing.assert_allclose(bent[moved, 0] - flat[moved, 0], [[0, 10, 0]] * moved.sum())
    assert length.max() == pytest.approx(2.5), "the mean of a line's two ends"


@pytest.mark.parametrize("shape", [(3, 40, 60), (16, 1024, 512), (512, 2048, 2048), (5000, 8192, 8192)])
def test_never_too_many_lines(shape: tuple[int, int, int]) -> None:
    nodes = view_nodes(shape)
    assert shape[0] * 2 * nodes[0] * nodes[1] <= 1.2 * MOST
    assert min(nodes) >= 2
    assert all(n <= length for n, length in zip(nodes, shape[1:], strict=True))


def test_small_displacements_are_magnified_large_ones_are_not() -> None:
    assert magnification(shifted(0, 20), SHAPE) == 1
    assert magnification(shifted(0, 1), SHAPE) == 7
    assert magnification(shifted(0, 0), SHAPE) == HIGHEST_MAGNIFICATION


def test_a_sampled_field_is_the_field_at_those_places() -> None:
    field = Displacement(shifted(1, 2, (20, 30)), SHAPE)
    np.testing.assert_allclose(sampled(field, (4, 6)), shifted(1, 2), rtol=1e-6)


def test_layers_of_a_field_that_moves_nothing_can_be_made() -> None:
    for kind in ("arrows", "grid"):
        layer = vectors_layer(kind, shifted(0, 0), SHAPE, 1, SPACE)
        assert tuple(layer.scale) == (4, 2, 2)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("tilt", [{}, {"rotate": 30, "shear": (0.1, 0.2, 0.3), "affine": np.eye(4) * [2, 2, 2, 1]}])
def test_the_confidence_covers_the_stack(tilt: dict[str, object]) -> None:
    stack = Image(np.zeros(SHAPE), contrast_limits=(0, 1), scale=(4, 2, 3), translate=(7, 1, 2), **tilt)
    made = confidence_layer(np.ones((3, 4, 5), np.float32), SHAPE, Placement.of(stack).space)
    for ours, theirs in (((0, -0.5, -0.5), (0, -0.5, -0.5)), ((2, 3.5, 4.5), (2, 39.5, 59.5))):
        np.testing.assert_allclose(made.data_to_world(ours), stack.data_to_world(theirs), atol=1e-9)
