"""Laws: what a cluster streams equals the lazy array, whatever box is read; shared work is done once."""

import os

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.distributed import connect, on_cluster
from napari_emsynth.distributed.stream import Ahead, Streamed
from napari_emsynth.errors import InputError
from napari_emsynth.spec import Result
from napari_emsynth.tiling.threads import cores
from napari_emsynth.volume import Volume


class Promise:
    """A future that counts how often it is asked for."""

    def __init__(self, value):
        self.value = value

    def result(self):
        return self.value


class Counting:
    """Stands for a cluster: computes at once and remembers which blocks it was given."""

    def __init__(self, threads=1):
        self.blocks = []
        self.threads = threads

    def nthreads(self):
        return {"worker": self.threads}

    def compute(self, parts):
        self.blocks.append(tuple(int(part[0, 0, 0].compute()) for part in parts))
        return [Promise(part.compute()) for part in parts]


@pytest.fixture(scope="module")
def numbered():
    return np.arange(7 * 6 * 5).reshape(7, 6, 5)


BOXES = [
    np.s_[:], np.s_[2:5], np.s_[0:1, 3:4, 4:5], np.s_[6:7], np.s_[1:6, 2:5, 1:4], np.s_[-3:-1], np.s_[3:3],
]  # fmt: skip


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("chunks", [(1, 6, 5), (3, 4, 2), (7, 6, 5)])
def test_a_box_equals_the_array(numbered, box, chunks):
    lazy = da.from_array(numbered, chunks=chunks)
    streamed = Streamed(Ahead([lazy], Counting(), depth=2, made={1, 4}), 0)
    assert np.array_equal(streamed[box], numbered[box])
    assert (streamed.shape, streamed.dtype, streamed.ndim) == (numbered.shape, numbered.dtype, 3)


def test_only_made_sections_travel_and_only_once(numbered):
    lazy = da.from_array(numbered, chunks=(1, 6, 5))
    cluster = Counting()
    ahead = Ahead([lazy, lazy + 1000], cluster, depth=2, made={1, 4, 5})
    volume, mask = Streamed(ahead, 0), Streamed(ahead, 1)
    for z in range(7):
        assert np.array_equal(volume[z : z + 1], numbered[z : z + 1])
        assert np.array_equal(mask[z : z + 1], numbered[z : z + 1] + 1000)
    assert cluster.blocks == [(30, 1030), (120, 1120), (150, 1150)]


def test_the_next_costly_blocks_are_under_way_before_they_are_read(numbered):
    lazy = da.from_array(numbered, chunks=(1, 6, 5))
    cluster = Counting()
    streamed = Streamed(Ahead([lazy], cluster, depth=2, made={2, 4, 6}), 0)
    streamed[0:1]
    assert cluster.blocks == [(60,), (120,)]
    streamed[2:3]
    assert cluster.blocks == [(60,), (120,), (180,)]


def result_of(data, sections):
    volume = Volume.of(data)
    mask = Volume.of((data >= 0).astype("uint8"))
    return Result(volume=volume, synthetic=mask, provenance={"sections": [{"section": z} for z in sections]})


def test_parts_in_memory_stay_as_they_are(numbered):
    result = result_of(numbered, [1])
    assert on_cluster(result, Counting()) is result


def test_every_lazy_part_is_placed(numbered):
    result = result_of(da.from_array(numbered, chunks=(2, 6, 5)), [1])
    placed = on_cluster(result, Counting())
    assert np.array_equal(placed.volume.read(slice(0, 7)), numbered)
    assert placed.synthetic.read(slice(0, 7)).min() == 1
    assert placed.uncertainty is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "either"),
        ({"workers": 2, "address": "tcp://127.0.0.1:1"}, "either"),
        ({"workers": 0}, "below the limit of 1 worker"),
        ({"address": "nonsense://x"}, "nonsense"),
        ({"address": "tcp://127.0.0.1:1"}, "tcp://127.0.0.1:1"),
    ],
)
def test_a_place_that_cannot_be_is_refused(given, words, monkeypatch):
    monkeypatch.setattr("napari_emsynth.distributed.cluster.SECONDS_TO_ANSWER", 1)
    with pytest.raises(InputError, match=words), connect(**given):
        pass


def test_a_real_cluster_gives_the_same_voxels(numbered):
    lazy = da.from_array(numbered, chunks=(1, 6, 5)) * 2
    before = dict(os.environ)
    with connect(workers=2) as client:
        assert len(client.nthreads()) == 2
        assert set(client.run(cores).values()) == {max(1, cores() // 2)}, "workers share the cores"
        placed = on_cluster(result_of(lazy, [0, 3, 5]), client)
        assert np.array_equal(placed.volume.read(slice(0, 7)), 2 * numbered)
    assert dict(os.environ) == before, "this process keeps its own"
    with connect(workers=1) as local, connect(address=local.scheduler.address) as client:
        assert set(local.run(cores).values()) == {cores()}, "one has them all, whatever was started before"
        placed = on_cluster(result_of(lazy, [6]), client)
        assert np.array_equal(placed.volume.read(slice(5, 7)), 2 * numbered[5:7])
