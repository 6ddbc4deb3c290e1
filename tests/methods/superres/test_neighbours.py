"""Which sections stand for the neighbours of a section."""

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.neighbours import check_damaged, misleading, seen
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom
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


def test_a_blank_section_misleads():
    data = np.array(Phantom(shape=(8, 48, 48)).volume().data)
    data[3] = 90
    assert list(misleading(Volume.of(data), Runtime())) == [3]


def test_what_a_user_says_is_damaged():
    assert check_damaged(None, 9) is None
    assert check_damaged("", 9) == check_damaged((), 9) == []
    assert check_damaged("1,4-6", 9) == [1, 4, 5, 6]
    assert check_damaged(3, 9) == [3]
    for wrong in ("9", [9], [-1], "a"):
        with pytest.raises(InputError):
            check_damaged(wrong, 9)
