"""Laws of the tiling plan: partition, equal sizes, phase, reflection."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_emsynth.errors import InputError
from napari_emsynth.tiling.plan import plan, reflect


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    numbers = {
        "shape": st.integers(1, 23),
        "tile": st.integers(1, 12),
        "halo": st.integers(0, 30),
        "multiple": st.sampled_from([1, 1, 2, 4, 8]),
    }
    return {name: tuple(draw(s) for _ in range(axes)) for name, s in numbers.items()}


def tiles_of(case):
    return plan(case["shape"], case["tile"], case["halo"], multiple=case["multiple"])


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_voxel_is_written_once(case):
    count = np.zeros(case["shape"], dtype=int)
    for tile in tiles_of(case):
        count[tile.out] += 1
    assert (count == 1).all()


@given(cases())
@settings(max_examples=150, deadline=None)
def test_inputs_have_one_size_on_the_grid_of_the_multiple(case):
    tiles = tiles_of(case)
    assert len({t.size for t in tiles}) == 1
    assert all(n % m == 0 for n, m in zip(tiles[0].size, case["multiple"], strict=True))
    for tile in tiles:
        for start, halo, multiple in zip(tile.start, case["halo"], case["multiple"], strict=True):
            assert (start + halo) % multiple == 0


@given(cases())
@settings(max_examples=150, deadline=None)
def test_every_kept_voxel_has_its_halo(case):
    for tile in tiles_of(case):
        for keep, size, halo in zip(tile.keep, tile.size, case["halo"], strict=True):
            assert keep.start >= halo
            assert keep.stop <= size - halo


@given(cases())
@settings(max_examples=150, deadline=None)
def test_an_input_is_the_volume_reflected_at_its_faces(case):
    volume = np.random.default_rng(0).normal(size=(2, *case["shape"])).astype(np.float32)
    for tile in tiles_of(case)[-6:]:
        into = np.full((2, *tile.size), np.nan, dtype=np.float32)
        tile.fill(volume[(slice(None), *tile.read)], into)
        # numpy's own reflect padding of the whole volume is the reference.
        before = [max(0, -s) for s in tile.start]
        pads = [
            (b, max(0, s + n - length))
            for b, s, n, length in zip(before, tile.start, tile.size, case["shape"], strict=True)
        ]
        padded = np.pad(volume, [(0, 0), *pads], mode="reflect")
        window = tuple(slice(s + b, s + b + n) for s, b, n in zip(tile.start, before, tile.size, strict=True))
        np.testing.assert_array_equal(into, padded[(slice(None), *window)])
        assert tile.pad == tuple(pads)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_no_core_is_larger_than_the_tile_asked_for(case):
    tiles = plan(case["shape"], case["tile"], case["halo"])
    for tile in tiles:
        assert all(o.stop - o.start <= n for o, n in zip(tile.out, case["tile"], strict=True))


def test_tiles_are_balanced():
    # 700 px in tiles of at most 512: two of 350, not one of 512 and a sliver of 188.
    assert [(t.out[0].start, t.out[0].stop) for t in plan((700,), (512,), (8,))] == [(0, 350), (350, 700)]


def test_reads_stay_close_to_the_tile():
    tile = plan((1000, 1000), (100, 100), (10, 10))[55]
    assert tile.read == (slice(490, 610), slice(490, 610))
    assert tile.pad == ((0, 0), (0, 0))


@pytest.mark.parametrize(("length", "expected"), [(1, [0] * 7), (2, [1, 0, 1, 0, 1, 0, 1]), (4, [3, 2, 1, 0, 1, 2, 3])])
def test_reflect(length, expected):
    assert reflect(np.arange(-3, 4), length).tolist() == expected


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"shape": (0, 4), "tile": (4, 4), "halo": (0, 0)}, "shape (0, 4) has an empty axis"),
        ({"shape": (4, 4), "tile": (0, 4), "halo": (0, 0)}, "tile 0 voxels is below the limit of 1"),
        ({"shape": (4, 4), "tile": (4, 4), "halo": (-1, 0)}, "halo -1 voxels is below the limit of 0"),
        ({"shape": (4, 4), "tile": (4,), "halo": (0, 0)}, "tile (4,) has 1 numbers, needs 2"),
        ({"shape": (4,), "tile": (4,), "halo": (0,), "multiple": (0,)}, "multiple 0 voxels is below the limit of 1"),
    ],
)
def test_nonsense_is_refused_in_one_line(numbers, words):
    with pytest.raises(InputError) as refused:
        plan(**numbers)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
