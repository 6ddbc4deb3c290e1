"""Which sections stand for the neighbours of a section."""

import numpy as np
from scipy import ndimage

from napari_emsynth.methods.superres.neighbours import misleading, seen, spacing
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.trust.intact import LeftOut, left_out
from napari_emsynth.volume import Volume


def test_inside_an_intact_stack_the_neighbours_themselves():
    assert seen(5, 10, 2) == [3, 4, 5, 6, 7]
    assert seen(5, 10, 0) == [5]


def test_at_the_ends_the_outer_section_is_repeated():
    assert seen(0, 10, 2) == [0, 0, 0, 1, 2]
    assert seen(9, 10, 2) == [7, 8, 9, 9, 9]
    assert seen(0, 1, 2) == [0] * 5
    assert seen(1, 3, 2) == [0, 0, 1, 2, 2]


def test_for_a_damaged_neighbour_the_nearest_intact_one_rather_the_further_off():
    assert seen(5, 10, 2, {6}) == [3, 4, 5, 7, 7]
    assert seen(5, 10, 2, {7}) == [3, 4, 5, 6, 6]
    assert seen(5, 10, 2, {6, 7}) == [3, 4, 5, 5, 5]


def test_a_damaged_section_is_drawn_from_itself_all_the_same():
    assert seen(5, 10, 2, {5}) == [3, 4, 5, 6, 7]
    assert seen(0, 10, 2, {0, 1}) == [0, 0, 0, 2, 2]


def test_neighbours_may_lie_further_apart():
    assert seen(10, 30, 2, apart=3) == [4, 7, 10, 13, 16]
    assert seen(1, 30, 2, apart=3) == [0, 0, 1, 4, 7]
    assert seen(10, 30, 2, {13, 16}, apart=3) == [4, 7, 10, 14, 15]


def drifting(step, count=24, noise=0.0):
    """Sections whose structures, 12 px wide, move on by ``step`` px from one to the next."""
    rng = np.random.default_rng(0)
    wide = ndimage.gaussian_filter(rng.normal(size=(64, 64 + 12 * count)), 6)
    wide /= wide.std()
    data = np.stack([wide[:, round(step * z) : round(step * z) + 64] for z in range(count)])
    return (data + noise * rng.normal(size=data.shape)).astype(np.float32)


def test_sections_that_are_alike_are_passed_over():
    far, near, apart = (spacing(Volume.of(drifting(step)), 2, 5) for step in (0.25, 1.0, 4.0))
    assert (far, apart) == (5, 1)
    assert apart < near < far
    assert spacing(Volume.of(drifting(0.5)), 2, 3) == 3
    assert spacing(Volume.of(drifting(0.5)), 0, 5) == 1


def test_a_few_sections_are_all_looked_at():
    assert spacing(Volume.of(drifting(0.5)[:5]), 2, 5) == 1
    assert spacing(Volume.of(drifting(0.5)[:9]), 2, 5) == 2
    assert spacing(Volume.of(drifting(0.5)[:1]), 2, 5) == 1


def test_neither_a_damaged_section_nor_unknown_voxels_change_how_far_apart():
    data = drifting(1.0)
    known = spacing(Volume.of(data), 2, 5)
    data[9] = 0
    data[:, 20:30] = np.nan
    assert spacing(Volume.of(data), 2, 5) == known
    assert spacing(Volume.of(np.full((24, 32, 32), 7, np.uint8)), 2, 5) == 1


def test_a_blank_section_misleads():
    data = np.array(Phantom(shape=(8, 48, 48)).volume().data)
    data[3] = 90
    assert misleading(left_out(Volume.of(data))) == {3}


def test_blur_and_repeats_do_not_mislead():
    found = LeftOut(kinds={1: "blurred", 2: "duplicate", 3: "displaced", 4: "saturated", 5: "half-missing"})
    assert misleading(found) == {3, 4, 5}
