"""Laws of drawing a volume block by block: no box matters, nothing is read or computed that is not needed."""

import pickle

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled
from napari_emsynth.methods import blocks
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume

DTYPE = np.dtype(np.int32)


class Numbered:
    """Draws the number of every voxel of a shape, and remembers which boxes it was asked for."""

    def __init__(self, shape):
        self.shape = shape
        self.boxes = []

    def __call__(self, box, runtime):
        self.boxes.append(box)
        runtime.progress(1, 2, "tiles")
        return np.arange(np.prod(self.shape)).reshape(self.shape)[box]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(blocks, "EAGER_BLOCK", (3, 4, 5))
    monkeypatch.setattr(blocks, "LAZY_EDGE", 4)
    monkeypatch.setattr(blocks, "STEP", 2)
    return Numbered((7, 9, 6))


def test_boxes_partition_a_shape():
    count = np.zeros((7, 9, 6), int)
    for box in blocks.boxes((7, 9, 6), (3, 4, 5)):
        count[box] += 1
    assert (count == 1).all()


def test_eager_and_lazy_draw_the_same(small):
    truth = np.arange(7 * 9 * 6).reshape(7, 9, 6)
    assert (blocks.eager(small, small.shape, DTYPE, Runtime(), "w") == truth).all()
    lazy = blocks.lazy(small, small.shape, DTYPE, Runtime(), 0)
    assert lazy.chunks == ((2, 2, 2, 1), (4, 4, 1), (4, 2))
    assert lazy.dtype == DTYPE
    assert (lazy.compute(scheduler="synchronous") == truth).all()


def test_only_what_is_read_is_drawn(small):
    lazy = blocks.lazy(small, small.shape, DTYPE, Runtime(), 0)
    assert small.boxes == []
    lazy[3, 5, 1].compute(scheduler="synchronous")
    assert small.boxes == [(slice(2, 4), slice(4, 8), slice(0, 4))]


def test_progress_is_told_in_parts_and_reaches_its_end(small):
    seen = []
    blocks.eager(small, small.shape, DTYPE, Runtime(progress=lambda *told: seen.append(told)), "aligning")
    total = blocks.PARTS * len(small.boxes)
    assert seen[0] == (0, total, "aligning")
    assert seen[1] == (blocks.PARTS // 2, total, "aligning")
    assert seen[-1] == (total, total, "aligning")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)


def test_cancel_between_blocks(small):
    token = CancelToken()
    runtime = Runtime(cancel=token, progress=lambda done, total, what: done >= 150 and token.cancel())
    with pytest.raises(Cancelled):
        blocks.eager(small, small.shape, DTYPE, runtime, "w")
    assert len(small.boxes) == 2


def test_a_block_travels_without_what_belongs_to_this_process(small):
    runtime = Runtime(note=lambda line: None, progress=lambda *told: None, seed=5)
    draw = pickle.loads(pickle.dumps(blocks._DrawBlock(small, runtime)))
    assert draw.runtime.seed == 5
    assert draw(block_info={None: {"array-location": [(0, 1), (0, 1), (2, 4)]}}).tolist() == [[[2, 3]]]


@pytest.mark.parametrize(
    ("edge", "voxel_bytes", "halo", "depth"),
    [
        (64, 2, 0, 16),
        (64, 2, 8, 16),
        (64, 2, 13, 32),
        (64, 2, 500, 64),
        (5000, 2, 13, 16),
        (5000, 5, 13, 8),
        (50_000, 2, 13, 4),
    ],
)
def test_lazy_blocks_are_as_deep_as_the_halo_asks_and_the_section_allows(edge, voxel_bytes, halo, depth):
    assert blocks.lazy_depth((99, edge, edge), voxel_bytes, halo) == depth


@pytest.mark.parametrize("edge", [100, 5000, 7000])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_tiff_is_written_in_whole_layers_so_that_no_block_is_drawn_twice(edge, dtype):
    from napari_emsynth.io.content import Content, slabs
    from napari_emsynth.spec import Result

    lazy = blocks.lazy(Numbered((70, edge, edge)), (70, edge, edge), np.dtype(dtype), Runtime(), 13)
    mask = Volume.of(blocks.mask([True] * 70, lazy))
    content = Content.of(Result(volume=Volume.of(lazy), synthetic=mask, provenance={}))
    starts = np.cumsum([0, *lazy.chunks[0]])
    assert [slab.start for slab in slabs(content)] == starts[:-1].tolist()


def test_the_mask_is_lazy_where_the_volume_is(small):
    flags = [False, True, True, False, False, True, False]
    lazy = blocks.lazy(small, small.shape, DTYPE, Runtime(), 0)
    plain = blocks.mask(flags, np.zeros(small.shape))
    mask = blocks.mask(flags, lazy)
    assert mask.chunks == lazy.chunks
    assert plain.dtype == mask.dtype == np.uint8
    assert (mask.compute(scheduler="synchronous") == plain).all()
    assert (plain[1] == 1).all()
    assert small.boxes == []


def numbers(dtype=np.float32):
    return np.arange(6 * 40 * 50).reshape(6, 40, 50).astype(dtype)


def test_a_padded_block_knows_where_it_lies():
    volume = Volume.of(numbers())
    box = (slice(2, 3), slice(20, 30), slice(35, 45))
    block = blocks.read_padded(volume, box, (1, 2, 3), Normalisation(0.0, 1.0, np.dtype("f4")))
    assert block.start == (1, 16, 32)
    assert block.values.shape == (3, 16, 16)
    assert (block.values[block.inside(box)] == numbers()[box]).all()
    assert block.empty is None


def test_where_one_section_is_empty_another_serves():
    data = numbers()
    data[2, 5, 5] = np.inf
    data[:, 30, 30] = np.nan
    everything = tuple(slice(0, n) for n in data.shape)
    block = blocks.read_padded(Volume.of(data), everything, (0, 0, 0), Normalisation(0.0, 1.0, data.dtype))
    assert np.argwhere(block.empty).tolist() == sorted([[2, 5, 5], *([z, 30, 30] for z in range(6))])
    assert block.values[2, 5, 5] in (data[1, 5, 5], data[3, 5, 5])
    for z in range(6):
        assert block.values[z, 30, 30] in data[z, 29:32, 29:32], "tissue goes on"


def test_statistics_are_those_of_few_sections_and_the_same_for_lazy_ones():
    rng = np.random.default_rng(0)
    data = rng.normal(100, 20, (200, 16, 16)).astype(np.float32)
    read = []

    def spy(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    source = da.from_array(data, chunks=(1, 16, 16)).map_blocks(
        spy, dtype=data.dtype, meta=np.zeros((0, 0, 0), data.dtype)
    )
    lazy = blocks.statistics(Volume.of(source))
    assert len(set(read)) == blocks.SAMPLED_SECTIONS
    assert lazy == blocks.statistics(Volume.of(data))
    assert lazy.mean == pytest.approx(100, abs=2)
    assert lazy.std == pytest.approx(20, rel=0.1)


def test_blank_sections_have_no_say_in_the_statistics():
    data = np.random.default_rng(0).normal(100, 20, (4, 32, 32)).astype(np.float32)
    data[0], data[3] = 0, np.nan
    assert blocks.statistics(Volume.of(data)).mean == pytest.approx(100, abs=2)
    assert blocks.statistics(Volume.of(np.full((2, 8, 8), 7, np.uint8))).mean == 7
