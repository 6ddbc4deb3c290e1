"""Laws of moved points and outlines: they land where the image's details land."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.fields import Displacement, moved, moved_outline, moved_points
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.volume import Volume

SHAPE = (3, 96, 112)


def warp(step=None):
    rng = np.random.default_rng(5)
    kind = Distortion(shift_px=3, rotation_deg=1.0, warp_px=2.0, wavelength_px=30)
    data = np.stack([kind.draw(rng, SHAPE[1:]) for _ in range(3)])
    return Displacement(data if step is None else data[:, :, step // 2 :: step, step // 2 :: step], SHAPE)


def spot(y, x):
    """A bright dot with a soft rim, known to less than a pixel."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.0**2)).astype(np.float32)


def centre(image):
    values = np.nan_to_num(image).astype(float)
    return [float((values * np.arange(n).reshape(s)).sum() / values.sum()) for n, s in ((96, (-1, 1)), (112, (1, -1)))]


@pytest.mark.parametrize("step", [None, 16])
@pytest.mark.parametrize("at", [(1, 40.25, 60.5), (2, 70.0, 30.75), (0, 20.5, 90.0)])
def test_a_point_lands_where_a_bright_dot_lands(step, at):
    field = warp(step)
    z, y, x = at
    stack = np.zeros(SHAPE, np.float32)
    stack[z] = spot(y, x)
    seen = centre(moved(Volume.of(stack), field).data[z])
    ((pz, py, px),) = moved_points([at], field)
    assert pz == z
    assert (py, px) == pytest.approx(seen, abs=0.1)
    assert np.hypot(py - y, px - x) > 0.5  # it did move


def test_a_shift_moves_points_against_the_pull():
    field = Displacement.zero(SHAPE, 16)
    field.data[:, 0], field.data[:, 1] = 3, -5
    np.testing.assert_allclose(moved_points([(1.2, 10, 20)], field), [(1.2, 7, 25)])


def test_points_outside_the_stack_stay_and_the_input_is_kept():
    points = np.array([(-1.0, 5, 5), (7.0, 5, 5), (np.nan, 5, 5), (2.4, 5, 5)])
    before = points.copy()
    out = moved_points(points, warp())
    assert np.array_equal(points, before, equal_nan=True)
    assert np.array_equal(out[:3], points[:3], equal_nan=True)
    assert not np.array_equal(out[3], points[3])
    assert moved_points([], warp()).shape == (0, 3)
    assert moved_points(np.zeros((0, 3)), warp()).shape == (0, 3)


def test_long_edges_of_an_outline_bend():
    corners = [(1, 20, 20), (1, 20, 90), (1, 80, 90)]
    field = warp()
    closed, path = (
        moved_outline(corners, field, every_px=10),
        moved_outline(corners, field, closed=False, every_px=10),
    )
    assert len(path) == 7 + 6 + 1
    assert len(closed) == 7 + 6 + 10
    straight = np.array([(1, 20, 20 + 10 * i) for i in range(7)], float)
    np.testing.assert_allclose(closed[:7], moved_points(straight, field))
    np.testing.assert_allclose(path[-1:], moved_points(corners[-1:], field))
    still = moved_outline(corners, Displacement.zero(SHAPE), every_px=1000)
    assert np.array_equal(still, corners)


@pytest.mark.parametrize("function", [moved_points, moved_outline])
def test_what_is_not_a_list_of_places_is_refused(function):
    with pytest.raises(InputError, match=r"shape \(1, 2\)"):
        function([(1, 2)], warp())
