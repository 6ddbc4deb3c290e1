"""Label sections between two: what keeps its place, its area and its id, and where it ends."""

import numpy as np
import pytest

from napari_emsynth.methods.upsample.labels.shapes import between

ROWS, COLUMNS = np.mgrid[:64, :96]
PLACES = (0.25, 0.5, 0.75)


def disc(column, radius=10.0, id_=7, row=32):
    return np.where(np.hypot(ROWS - row, COLUMNS - column) <= radius, id_, 0).astype(np.uint16)


def centroid(mask):
    return np.argwhere(mask).mean(axis=0)


def cells(seed, move=(0, 0)):
    """Dense ids without background: every voxel belongs to the nearest of some seeds."""
    seeds = np.random.default_rng(seed).uniform((0, 0), (64, 96), (12, 2)) + move
    return (np.hypot(ROWS - seeds[:, :1, None], COLUMNS - seeds[:, 1:, None]).argmin(axis=0) + 5).astype(np.uint64)


@pytest.mark.parametrize("shift", [0.0, 4.0, 8.0, 12.0])
@pytest.mark.parametrize("t", PLACES)
def test_a_sheared_cylinder_keeps_its_area_and_its_axis(shift, t):
    (section,) = between(disc(40), disc(40 + shift), (t,))
    area = (disc(40) > 0).sum()
    assert abs((section > 0).sum() - area) <= 0.03 * area
    assert centroid(section) == pytest.approx((32, 40 + t * shift), abs=0.15)


def test_a_sheared_cylinder_is_nearer_to_the_truth_than_the_nearest_section():
    truth = disc(40 + 2.5)
    (section,) = between(disc(40), disc(50), (0.25,))
    assert (section != truth).sum() < 0.3 * (disc(40) != truth).sum()


def test_a_cone_narrows_evenly():
    areas = [(section > 0).sum() for section in between(disc(40, 16), disc(40, 8), PLACES)]
    assert areas == pytest.approx([np.pi * r**2 for r in (14, 12, 10)], rel=0.06)


@pytest.mark.parametrize("ids", [cells(0), disc(40), disc(40) > 0, np.zeros_like(ROWS), -disc(20).astype(np.int64)])
def test_equal_sections_give_themselves(ids):
    for section in between(ids, ids.copy(), PLACES):
        assert section.dtype == ids.dtype
        assert (section == ids).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_id_is_new_and_none_is_lost_that_both_sections_hold(seed):
    below, above = cells(seed), cells(seed, move=(3, -4))
    held = set(np.unique(below)) | set(np.unique(above))
    for section in between(below, above, PLACES):
        assert set(np.unique(section)) <= held
        assert set(np.unique(below)) & set(np.unique(above)) <= set(np.unique(section))


def test_moved_cells_leave_no_cracks_and_run_with_their_seeds():
    below, above = cells(1), cells(1, move=(0, 6))
    (section,) = between(below, above, (0.5,))
    inner = np.s_[8:-8, 8:-8]
    wrong = (section != cells(1, move=(0, 3)))[inner].mean()
    assert wrong < 0.3 * (below != cells(1, move=(0, 3)))[inner].mean()


def test_what_one_section_holds_ends_half_way_and_gets_smaller_until_then():
    areas = [(s > 0).sum() for s in between(disc(40), np.zeros_like(disc(40)), (0.1, 0.3, 0.45, 0.5, 0.7))]
    whole = (disc(40) > 0).sum()
    assert whole >= areas[0] > areas[1] > areas[2] == areas[3] > 0  # at least its deeper half
    assert areas[4] == 0


def test_a_part_that_jumps_is_never_in_two_places():
    for t, section in zip((0.2, 0.5, 0.8), between(disc(20), disc(70), (0.2, 0.5, 0.8)), strict=True):
        left, right = (section[:, :48] > 0).any(), (section[:, 48:] > 0).any()
        assert (left, right) == (t < 0.5, t > 0.5)


def test_an_id_that_one_section_holds_lives_half_way():
    (section,) = between(disc(20, id_=3) + disc(60, 1.5, id_=4), disc(24, id_=3) + disc(80, 1.5, id_=5), (0.5,))
    assert set(np.unique(section)) == {0, 3, 4, 5}


def test_a_part_that_ends_inside_a_cell_leaves_its_place_to_the_cell():
    cell = np.full(ROWS.shape, 3, np.uint16)
    below = np.where(disc(40) > 0, 9, cell)
    early, late = between(below, cell, (0.3, 0.6))
    assert ((early == 9) | (early == 3)).all()
    assert (early == 9).sum() > 0.3 * (below == 9).sum()
    assert (late == 3).all()


def test_two_sections_that_share_nothing_change_half_way():
    below, above = np.full((20, 30), 1, np.int8), np.full((20, 30), 2, np.int8)
    for t, section in zip((0.3, 0.5, 0.8), between(below, above, (0.3, 0.5, 0.8)), strict=True):
        assert (section == (1 if t <= 0.5 else 2)).all()


def test_the_order_of_sections_does_not_matter():
    below, above = cells(2), cells(2, move=(4, 2))
    up, down = between(below, above, (0.25,))[0], between(above, below, (0.75,))[0]
    assert (up != down).mean() < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64, bool])
def test_every_type_of_ids(dtype):
    top = True if dtype is bool else np.iinfo(dtype).max
    below, above = (np.where(disc(c) > 0, top, 0).astype(dtype) for c in (40, 46))
    (section,) = between(below, above, (0.5,))
    assert section.dtype == dtype
    assert ((section == top) | (section == 0)).all()
    assert (section == top).sum() == (below == top).sum()
