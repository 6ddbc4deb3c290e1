"""Pixels and the finer pixels they are the means of."""

import numpy as np
import pytest

from napari_emsynth.methods.superres.reduction import cells, consistent, enlarged, reduced, repeated, rounded, whole

RNG = np.random.default_rng(0)
FINE = RNG.normal(size=(24, 40)).astype(np.float32)


def test_cells_are_the_pixels_of_a_block_and_come_together_again():
    parts = cells(FINE, 8)
    assert parts.shape == (64, 3, 5)
    assert sorted(parts[:, 1, 2]) == sorted(FINE[8:16, 16:24].ravel())
    assert (whole(parts, 8) == FINE).all()
    np.testing.assert_allclose(parts.mean(axis=0), reduced(FINE, 8), atol=1e-6)


def test_reducing_what_was_repeated_gives_it_back():
    coarse = FINE[:3, :5]
    assert (reduced(repeated(coarse, 8), 8) == coarse).all()


def test_a_consistent_guess_has_the_acquired_block_means():
    acquired = RNG.normal(size=(3, 5)).astype(np.float32)
    moved = consistent(FINE, acquired, 8)
    np.testing.assert_allclose(reduced(moved, 8), acquired, atol=1e-5)


def test_a_consistent_guess_stays():
    np.testing.assert_allclose(consistent(FINE, reduced(FINE, 8), 8), FINE, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_rounding_keeps_block_means_and_moves_no_pixel_by_more_than_one(dtype):
    acquired = RNG.integers(100, 120, (3, 5)).astype(dtype)
    guess = enlarged(acquired, 8) + 2 * FINE
    fine = consistent(guess, acquired.astype(np.float32), 8)
    drawn = rounded(fine, acquired, 8)
    assert drawn.dtype == acquired.dtype
    assert (cells(drawn, 8).astype(float).mean(axis=0) == acquired).all()
    assert np.abs(drawn - fine).max() <= 1.0 + 1e-3


def test_clipping_keeps_block_means_too():
    acquired = np.array([[255, 0], [250, 3]], np.uint8)
    fine = repeated(acquired, 8).astype(np.float32) + 40 * RNG.normal(size=(16, 16)).astype(np.float32)
    drawn = rounded(fine, acquired, 8)
    assert (cells(drawn, 8).astype(float).mean(axis=0) == acquired).all()


def test_the_smooth_step_leaves_no_block_edges():
    ramp = np.tile(np.arange(12, dtype=np.float32), (6, 1))
    flat = np.zeros((48, 96), np.float32)
    moved = consistent(flat, ramp, 8)
    steps = np.abs(np.diff(moved[24, 16:-16]))
    assert steps.max() < 0.3  # repeated pixels have steps of 1
