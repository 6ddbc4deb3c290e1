"""Which sections serve which, worked out by hand."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.interpolate.plan import (
    REACH,
    Marks,
    masked_regions,
    output_order,
    overlap,
    plan_repairs,
    regions,
)
from napari_emsynth.spec import CancelToken
from napari_emsynth.volume import Volume

SHAPE = (10, 100, 120)


def replaced(*sections, usable=lambda z: True):
    return plan_repairs(Marks(SHAPE, set(sections), {}, usable), list(range(SHAPE[0])))


def brief(repairs):
    return [(r.section, r.below, r.above, r.t, r.span) for r in repairs]


def test_a_single_section():
    assert brief(replaced(4)) == [(4, 3, 5, 0.5, 2)]


def test_a_run_is_spread_between_its_ends():
    assert brief(replaced(4, 5, 6)) == [(4, 3, 7, 0.25, 4), (5, 3, 7, 0.5, 4), (6, 3, 7, 0.75, 4)]


def test_two_damaged_with_one_good_between():
    assert brief(replaced(4, 6)) == [(4, 3, 5, 0.5, 2), (6, 5, 7, 0.5, 2)]


def test_first_and_last_are_one_sided():
    first, last = replaced(0, 9)
    assert (first.below, first.above, first.t, first.span) == (None, 1, 0.5, 2)
    assert (last.below, last.above, last.t, last.span) == (8, None, 0.5, 2)
    assert first.known == {1: 1, 2: 2}
    assert last.known == {-1: 8, -2: 7}


def test_two_sections_serve_on_each_side_where_there_are_two():
    assert [r.offsets for r in replaced(4, 5, 6)] == [(-2, -1, 3, 4), (-3, -2, 2, 3), (-4, -3, 1, 2)]
    (repair,) = replaced(1)
    assert repair.known == {-1: 0, 1: 2, 2: 3}


def test_a_far_section_is_the_next_that_is_usable_and_in_reach():
    (repair,) = replaced(4, usable=lambda z: z not in (2, 6))
    assert repair.known == {-3: 1, -1: 3, 1: 5, 3: 7}
    marks = Marks((40, 9, 9), {20}, {}, lambda z: z not in range(22, 34))
    (repair,) = plan_repairs(marks, list(range(40)))
    assert repair.known == {-2: 18, -1: 19, 1: 21}


def test_far_sections_of_an_insertion_are_counted_in_the_output():
    (repair,) = plan_repairs(Marks((6, 9, 9), set(), {}), output_order(6, [3]))
    assert repair.known == {-2: 1, -1: 2, 1: 3, 2: 4}


def test_unusable_neighbours_are_passed_over():
    assert brief(replaced(4, usable=lambda z: z != 5)) == [(4, 3, 6, 1 / 3, 3)]


def suspected(*sections, **suspects):
    kinds = {int(z[1:]): kind.replace("_", "-") for z, kind in suspects.items()}
    return plan_repairs(Marks(SHAPE, set(sections), {}, suspects=kinds), list(range(SHAPE[0])))


@pytest.mark.parametrize("kind", ["blank", "saturated", "half_missing", "displaced", "duplicate", "blurred"])
def test_sections_that_look_damaged_are_passed_over(kind):
    assert brief(suspected(4, z5=kind)) == [(4, 3, 6, 1 / 3, 3)]


def test_a_blurred_section_serves_where_no_other_is_near():
    far = dict.fromkeys((f"z{z}" for z in range(5, 10)), "blurred")
    assert brief(suspected(4, **far)) == [(4, 3, 5, 0.5, 2)]
    lost = dict.fromkeys((f"z{z}" for z in range(5, 10)), "blank")
    assert [(r.below, r.above) for r in suspected(4, **lost)] == [(3, None)]


def test_how_far_an_intact_section_is_preferred_to_a_blurred_one():
    shape, window = (2 * REACH, 9, 9), (slice(0, 9), slice(0, 9))
    for blurred, found in ((REACH - 1, REACH), (REACH, 1), (REACH + 2, 1)):
        marks = Marks(shape, {0}, {}, suspects=dict.fromkeys(range(1, 1 + blurred), "blurred"))
        assert marks.nearest_intact(1, 1, window) == found


def test_where_all_look_damaged_the_nearest_serves():
    suspects = dict.fromkeys((f"z{z}" for z in range(10) if z != 4), "displaced")
    assert brief(suspected(4, **suspects)) == [(4, 3, 5, 0.5, 2)]


def test_inserted_sections_lie_between_their_neighbours():
    order = output_order(4, [2, 2, 3])
    assert order == [0, 1, None, None, 2, None, 3]
    repairs = plan_repairs(Marks((4, 9, 9), set(), {}), order)
    assert brief(repairs) == [(2, 1, 2, 1 / 3, 3), (3, 1, 2, 2 / 3, 3), (5, 2, 3, 0.5, 2)]
    assert all(r.treatment == "inserted" for r in repairs)
    assert all(r.source is None for r in repairs)


def test_all_marked_cannot_be_repaired():
    with pytest.raises(InputError, match="at least 1 intact section is needed"):
        replaced(*range(10))


def test_nothing_marked_is_said():
    with pytest.raises(InputError, match="nothing is marked"):
        replaced()


def test_damaged_regions_avoid_each_other():
    here, there = (slice(0, 20), slice(0, 20)), (slice(50, 60), slice(50, 60))
    marks = Marks(SHAPE, {7}, {4: [here], 5: [here], 3: [there]})
    repairs = plan_repairs(marks, list(range(10)))
    found = {(r.section, r.treatment): (r.below, r.above) for r in repairs}
    assert found[4, "masked"] == (3, 6)  # 5 is damaged at the same place, 3 elsewhere
    assert found[5, "masked"] == (3, 6)
    assert found[3, "masked"] == (2, 4)
    assert found[7, "replaced"] == (6, 8)


def test_regions_of_a_mask_are_tight_and_separate():
    mask = np.zeros((100, 120), bool)
    mask[10:20, 30:40] = True
    mask[24:30, 30:35] = True  # nearer than the merging distance
    mask[80, 100] = True
    assert sorted(regions(mask), key=lambda w: w[0].start) == [
        (slice(10, 30), slice(30, 40)),
        (slice(80, 81), slice(100, 101)),
    ]
    assert regions(np.zeros((5, 5), bool)) == []


def test_masked_regions_name_their_sections():
    mask = np.zeros((4, 50, 50), np.uint8)
    mask[2, 3:5, 7:9] = 255
    assert masked_regions(Volume.of(mask), CancelToken()) == {2: [(slice(3, 5), slice(7, 9))]}


def test_windows_overlap_when_they_share_a_pixel():
    a = (slice(0, 5), slice(0, 5))
    assert overlap(a, (slice(4, 9), slice(4, 9)))
    assert not overlap(a, (slice(5, 9), slice(0, 5)))
