"""Laws of the figures that hold a displacement against a known one."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from napari_emsynth.errors import InputError
from napari_emsynth.metrics.registration import (
    drift,
    end_point_error,
    equivariance_error,
    folds,
    mean_magnitude,
    stack_residual,
)

SHAPE = (72, 96)
STACK = (24, 2, 40, 44)


def smooth(seed, shape=SHAPE, size=3.0, sigma=10):
    u = gaussian_filter(np.random.default_rng(seed).normal(size=(2, *shape)), (0, sigma, sigma))
    return size * u / np.abs(u).max()


def at(u, displacement):
    there = np.indices(u.shape[1:]) + displacement
    return np.stack([map_coordinates(c, there, order=1, mode="nearest") for c in u])


def inverse(u, turns=12):
    v = -u
    for _ in range(turns):
        v = -at(u, v)
    return v


def white(shape=STACK, sigma=2.0, seed=0):
    """Shifts drawn anew for every section."""
    shifts = np.random.default_rng(seed).normal(0, sigma, (shape[0], 2))
    return np.broadcast_to(shifts[:, :, None, None], shape).copy()


def test_the_truth_has_no_end_point_error_and_a_constant_error_is_its_length():
    truth = smooth(0)
    assert end_point_error(truth, truth) == 0
    assert end_point_error(truth + np.array([3, -4])[:, None, None], truth) == pytest.approx(5)


def test_the_margin_does_not_count():
    u, truth = np.zeros((2, *SHAPE)), np.zeros((2, *SHAPE))
    u[:, :8], u[:, :, -8:] = 100, 100
    assert end_point_error(u, truth, 8) == 0
    assert end_point_error(u, truth, 7) > 0
    assert mean_magnitude(u, 8) == 0
    assert equivariance_error(u, truth, truth, 8) == 0


def test_an_answer_that_follows_the_warp_is_equivariant():
    g = smooth(1)
    y, x = np.indices(SHAPE)
    linear = np.stack([0.02 * y - 0.01 * x, 0.03 * x])
    followed = g + np.stack([0.02 * (y + g[0]) - 0.01 * (x + g[1]), 0.03 * (x + g[1])])
    assert equivariance_error(followed, linear, g, 4) == pytest.approx(0, abs=1e-9)
    wavy = smooth(2)
    assert equivariance_error(g + at(wavy, g), wavy, g, 4) < 1e-9


def test_an_answer_that_ignores_the_warp_is_off_by_the_warp():
    g, none = smooth(1), np.zeros((2, *SHAPE))
    assert equivariance_error(none, none, g) == pytest.approx(mean_magnitude(g))
    # Adding the warp without moving the first answer along is not enough.
    wavy = smooth(2, sigma=5)
    assert equivariance_error(g + wavy, wavy, g, 4) > 0.1


def test_a_smooth_field_has_no_folds_and_a_mirrored_one_nothing_else():
    y, x = np.indices(SHAPE, dtype=float)
    assert folds(np.zeros((2, *SHAPE))) == 0
    assert folds(smooth(0)) == 0
    assert folds(np.stack([0 * y, SHAPE[1] - 1 - 2 * x])) == 1
    assert folds(np.stack([-y, 0 * x])) == 1  # flattened to a line
    assert folds(np.stack([SHAPE[0] - 1 - 2 * y, SHAPE[1] - 1 - 2 * x])) == 0  # turned by 180 degrees


def test_one_pixel_that_jumps_over_the_next_is_a_fold():
    u = np.zeros((2, *SHAPE))
    u[1, 10, 20] = 1.5
    assert folds(u) == pytest.approx(1 / ((SHAPE[0] - 1) * (SHAPE[1] - 1)))


def test_the_mean_magnitude_is_a_length():
    assert mean_magnitude(np.broadcast_to(np.array([3.0, 4.0])[:, None, None], (2, *SHAPE))) == pytest.approx(5)


def test_the_exact_inverse_leaves_nothing_of_a_stacks_distortion():
    known = white() + np.stack([smooth(z, STACK[2:], 1.0, 8) for z in range(STACK[0])])
    undone = np.stack([inverse(u) for u in known])
    before = stack_residual(np.zeros(STACK), known)
    assert before > 1.5
    assert stack_residual(undone, known, 12) < 0.02 * before
    # The fields' sum is not their composition: answering with the negative is not exact.
    assert stack_residual(-known, known, 12) > 2 * stack_residual(undone, known, 12)


def test_offsets_and_slow_drift_are_forgiven_and_jitter_is_not():
    none = np.zeros(STACK)
    offset = np.broadcast_to(np.array([5.0, -7.0])[:, None, None], STACK)
    assert stack_residual(none, offset) == pytest.approx(0, abs=1e-9)
    z = np.arange(STACK[0])[:, None, None, None]
    drift = np.broadcast_to(3 * np.cos(np.pi * (z + 0.5) / STACK[0]), STACK)
    assert stack_residual(none, drift) < 0.1 * mean_magnitude(drift.reshape(2, -1, STACK[3]))
    jitter = white()
    kept = stack_residual(none, jitter) / np.hypot(jitter[:, 0], jitter[:, 1]).mean()
    # A Gaussian of 3 sections takes 9 % of independent shifts along, more at the stack's ends.
    assert 0.75 < kept < 1


def test_what_is_forgiven_and_what_is_not_add_up():
    known = white() + np.array([5.0, -7.0])[:, None, None]
    rest = known - drift(np.zeros(STACK), known)
    assert mean_magnitude(rest[3]) > 0
    lengths = [mean_magnitude(section) for section in rest]
    assert stack_residual(np.zeros(STACK), known) == pytest.approx(np.mean(lengths))
    assert drift(np.zeros(STACK), known).mean(axis=(0, 2, 3)) == pytest.approx([5, -7], abs=1)


def test_what_cannot_be_measured_is_refused():
    u = np.zeros((2, *SHAPE))
    with pytest.raises(InputError, match=r"\(2, 72, 95\) and \(2, 72, 96\)"):
        end_point_error(u, u[:, :, :-1])
    with pytest.raises(InputError, match=r"\(72, 96\)"):
        folds(u[0])
    with pytest.raises(InputError, match="1 x 96 px"):
        folds(u[:, :1])
    with pytest.raises(InputError, match="margin of 36 px is outside 0 to 35 px"):
        mean_magnitude(u, 36)
    with pytest.raises(InputError, match=r"needs \[z, 2, y, x\]"):
        stack_residual(u, u)


def test_what_the_undistorted_stack_is_moved_by_is_no_error():
    rng = np.random.default_rng(0)
    own = np.broadcast_to(rng.normal(0, 0.5, (12, 2, 1, 1)), (12, 2, 40, 40))
    known = np.broadcast_to(rng.normal(0, 2.0, (12, 2, 1, 1)), (12, 2, 40, 40))
    # It undoes the known shifts and the stack's own.
    applied = own - known
    assert stack_residual(applied, known) > 0.3
    assert stack_residual(applied, known, alone=own) < 1e-6
