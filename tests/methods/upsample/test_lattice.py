"""Where sections lie: both grid laws, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.methods import get
from napari_emsynth.methods.upsample.lattice import Lattice, check_factor, check_sections

LINEAR = get("upsample", "linear")
INPUT = Grid(shape=(10, 4, 4), voxel_nm=(30, 5, 5), origin_nm=(7, 0, 0))


def places_nm(lattice):
    """Centres of the output's sections in nm, by its grid, and by its positions in the input's."""
    grid = lattice.grid(INPUT)
    by_grid = grid.origin_nm[0] + grid.voxel_nm[0] * np.arange(grid.shape[0])
    by_position = INPUT.origin_nm[0] + INPUT.voxel_nm[0] * np.array(
        [lattice.position(section) for section in range(grid.shape[0])]
    )
    return by_grid, by_position


@pytest.mark.parametrize(
    ("factor", "sampling"), [(2, "point"), (2.5, "point"), (7.3, "point"), (2, "slab"), (5, "slab")]
)
def test_positions_and_grid_tell_the_same_places(factor, sampling):
    assert np.allclose(*places_nm(Lattice(10, factor, sampling)))


@given(st.floats(2, 12), st.integers(2, 400))
def test_point_sections_lie_inside_the_stack_between_their_neighbours(factor, count):
    lattice = Lattice(count, factor, "point")
    grid = lattice.grid(Grid(shape=(count, 1, 1)))
    for section in {0, 1, grid.shape[0] // 2, grid.shape[0] - 1}:
        below, above, t = lattice.neighbours(section)
        assert 0 <= below < above <= count - 1
        assert 0 <= t <= 1
        assert below + t == pytest.approx(lattice.position(section), abs=1e-6)


@pytest.mark.parametrize(("factor", "kept"), [(2, [0, 2, 4, 6]), (2.5, [0, 5]), (3, [0, 3, 6, 9])])
def test_acquired_sections_reappear_where_their_place_is_whole(factor, kept):
    lattice = Lattice(4, factor, "point")
    count = lattice.grid(Grid(shape=(4, 1, 1))).shape[0]
    found = [section for section in range(count) if lattice.acquired(section) is not None]
    assert found == kept
    assert [lattice.acquired(section) * factor for section in kept] == kept


def test_long_stacks_keep_their_acquired_sections():
    lattice = Lattice(100_001, 2.1, "point")
    assert lattice.acquired(210_000) == 100_000
    assert lattice.position(210_000) == 100_000


def test_slabs_are_filled_evenly_and_the_ends_have_one_neighbour_that_counts():
    lattice = Lattice(2, 4, "slab")
    assert [lattice.position(j) for j in range(8)] == pytest.approx(
        [-0.375, -0.125, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375]
    )
    assert lattice.neighbours(0) == (0, 1, 0.0)
    assert lattice.neighbours(7) == (0, 1, 1.0)
    assert [lattice.nearest(j) for j in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert all(lattice.acquired(j) is None for j in range(8))


def test_whole_factors_are_whole_numbers():
    assert check_factor(LINEAR, 3.0, "slab") == (3, "slab")
    assert isinstance(check_factor(LINEAR, 3.0, "point")[0], int)
    assert check_factor(LINEAR, 2.5, "point") == (2.5, "point")


@pytest.mark.parametrize(
    ("factor", "sampling", "words"),
    [
        (1.5, "point", "factor 1.5 is outside 2 to 12"),
        (13, "point", "factor 13 is outside 2 to 12"),
        (float("nan"), "point", "not a number"),
        (True, "point", "not a number"),
        ("two", "point", "factor 'two' is not a number"),
        (2, "cubic", "sampling 'cubic' is not one of point, slab"),
    ],
)
def test_nonsense_is_refused_with_its_limit(factor, sampling, words):
    with pytest.raises(InputError, match=words):
        check_factor(LINEAR, factor, sampling)


def test_what_a_method_cannot_do_is_refused_by_name():
    twice = replace(LINEAR, id="twice", factors=(2,), samplings=("point",))
    assert check_factor(twice, 2.0, "point") == (2, "point")
    with pytest.raises(InputError, match="upsample/twice upsamples by 2, not by 3"):
        check_factor(twice, 3, "point")
    with pytest.raises(InputError, match="upsample/twice does point sampling, not slab"):
        check_factor(twice, 2, "slab")


def test_one_section_has_nothing_between():
    check_sections(2)
    with pytest.raises(InputError, match="the limit is 2 sections"):
        check_sections(1)
