"""Laws of blending: constants stay, any positive window works, each voxel is handed over once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_emsynth.tiling.blend import Accumulator, ramp, weights, window
from napari_emsynth.tiling.plan import plan


class Sink:
    """Keeps what it is given and counts how often."""

    def __init__(self, channels, shape):
        self.values = np.full((channels, *shape), np.nan, dtype=np.float32)
        self.count = np.zeros(shape, dtype=int)
        self.largest = 0

    def write(self, where, block):
        self.values[(slice(None), *where)] = block
        self.count[where] += 1
        self.largest = max(self.largest, block.size)


def blended(shape, tile, overlap, field, first=0):
    tiles = plan(shape, tile, (0,) * len(shape), overlap=overlap)
    sink = Sink(len(field), shape)
    accumulator = Accumulator(tiles, overlap, sink.write, first=first)
    for t in tiles:
        if t.out[0].stop > first:
            accumulator.add(t, field[(slice(None), *t.out)])
    accumulator.close()
    return sink, accumulator


@given(st.integers(1, 3), st.data())
@settings(max_examples=100, deadline=None)
def test_a_field_survives_blending_everywhere_and_is_written_once(axes, data):
    shape, tile, overlap = (
        tuple(data.draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))
        for low, high in ((1, 17), (1, 9), (0, 6))
    )
    field = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    sink, accumulator = blended(shape, tile, overlap, field)
    np.testing.assert_allclose(sink.values, field, atol=1e-5)
    assert (sink.count == 1).all()
    assert accumulator.finished == shape[0]


def test_constant_in_is_constant_out_corners_included():
    shape, value = (37, 41, 53), 1.0
    sink, _ = blended(shape, (16, 16, 16), (8, 8, 8), np.full((1, *shape), value, dtype=np.float32))
    assert abs(sink.values - value).max() < 1e-5
    assert abs(sink.values[0, 0, 0, 0] - value) < 1e-6


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_any_positive_window_is_a_partition_of_unity(seed):
    rng = np.random.default_rng(seed)
    spans = [(0, 9), (5, 14), (7, 16), (14, 23)]
    total = np.zeros(23)
    for (start, stop), w in zip(spans, weights(spans, 4, lambda n, _: rng.uniform(1e-3, 1, n)), strict=True):
        total[start:stop] += w
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_step_between_two_tiles_becomes_a_ramp():
    tiles = plan((24,), (14,), (0,), overlap=(4,))
    sink = Sink(1, (24,))
    accumulator = Accumulator(tiles, (4,), sink.write)
    for value, tile in enumerate(tiles):
        accumulator.add(tile, np.full((1, tile.out[0].stop - tile.out[0].start), value, dtype=np.float32))
    accumulator.close()
    np.testing.assert_allclose(sink.values[0, 9:15], [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-6)


def test_window_is_positive_and_separable():
    w = window((9, 5), (3, 4))
    assert w.min() > 0
    np.testing.assert_allclose(w, np.outer(ramp(9, 3), ramp(5, 4)))
    np.testing.assert_allclose(ramp(9, 3), [0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25])


def test_no_more_than_a_row_of_tiles_is_held():
    field = np.ones((1, 200, 30), dtype=np.float32)
    sink, _ = blended((200, 30), (10, 10), (2, 2), field)
    assert sink.largest <= 10 * 30


@pytest.mark.parametrize("overlap", [(0, 0), (3, 3)])
def test_what_is_finished_is_left_alone(overlap):
    field = np.random.default_rng(2).normal(size=(1, 40, 12)).astype(np.float32)
    sink, _ = blended((40, 12), (10, 6), overlap, field, first=20)
    np.testing.assert_allclose(sink.values[:, 20:], field[:, 20:], atol=1e-5)
    if any(overlap):
        assert not sink.count[:20].any()
