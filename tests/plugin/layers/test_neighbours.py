"""Neighbouring sections over each other: what they show, and that nothing but a section is computed."""

from __future__ import annotations

import dask.array as da
import numpy as np

from napari_emsynth.plugin.layers.checkerboard import brightness, overlaid, squares
from napari_emsynth.plugin.layers.neighbours import overlay

STACK = np.random.default_rng(0).integers(0, 200, (4, 24, 32)).astype(np.uint8)


def test_red_is_the_section_and_green_the_next() -> None:
    rgb = overlaid("red/green", STACK[0], STACK[1], (0, 200))
    assert (rgb.shape, rgb.dtype) == ((24, 32, 3), np.uint8)
    np.testing.assert_array_equal(rgb[..., 0], brightness(STACK[0], (0, 200)))
    np.testing.assert_array_equal(rgb[..., 1], brightness(STACK[1], (0, 200)))
    assert not rgb[..., 2].any()


def test_squares_take_from_both() -> None:
    board = overlaid("squares", STACK[0], STACK[1], (0, 200))
    np.testing.assert_array_equal(board, np.where(squares((24, 32)), STACK[0], STACK[1]))


def test_contrast_is_the_layers_and_the_unknown_is_dark() -> None:
    np.testing.assert_array_equal(
        brightness(np.array([[-1.0, 0.0, 5.0, 10.0, 99.0, np.nan]]), (0, 10)), [[0, 0, 128, 255, 255, 0]]
    )


def test_the_lazy_overlay_is_the_same_and_computes_a_section() -> None:
    read: list[int] = []

    def noted(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
        if block_info:
            read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = da.from_array(STACK, chunks=(1, 24, 32)).map_blocks(noted, dtype=np.uint8)
    for how in ("red/green", "squares"):
        whole = overlay(how, STACK, (0, 200))
        assert whole.shape == (STACK.shape if how == "squares" else (*STACK.shape, 3))
        read.clear()
        np.testing.assert_array_equal(
            np.asarray(overlay(how, lazy, (0, 200))[1]), overlaid(how, STACK[1], STACK[2], (0, 200))
        )
        assert set(read) == {1, 2}
        last = np.asarray(whole[3])
        np.testing.assert_array_equal(last, overlaid(how, STACK[3], STACK[3], (0, 200)))
