"""What is empty of a volume, asked of files, arrays and blocks alike."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_emsynth.testing.phantoms import Phantom, margins
from napari_emsynth.trust.serving import FRINGE, everywhere, served
from napari_emsynth.trust.validity import Emptiness, stated
from napari_emsynth.volume import Known, Volume

SHAPE = (6, 64, 80)
BOX = (slice(1, 5), slice(10, 40), slice(0, 30))


def planted(dtype: str = "uint8", fill: float = 0) -> tuple[Volume, np.ndarray]:
    data, empty = Phantom(shape=SHAPE, dtype=dtype).volume().data, margins(SHAPE)
    return Volume.of(np.where(empty, data.dtype.type(fill), data)), empty


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 0), ("uint8", 255), ("float32", np.nan), ("float32", 0.0)])
def test_a_block_sees_what_the_whole_sees(dtype: str, fill: float) -> None:
    volume, empty = planted(dtype, fill)
    found = Emptiness(volume)
    np.testing.assert_array_equal(found[:, :, :] > 0, empty)
    np.testing.assert_array_equal(Emptiness(volume).block(volume.read(*BOX), *BOX), empty[BOX])
    np.testing.assert_array_equal(found[2, 3:5], empty[2, 3:5])
    np.testing.assert_array_equal(found[..., 0], empty[..., 0])
    assert found.share(2) == pytest.approx(empty[2].mean())


def test_numpy_dask_and_another_process_agree() -> None:
    da = pytest.importorskip("dask.array")
    volume, empty = planted()
    given = np.zeros(SHAPE, np.uint8)
    given[3] = given[1, 20:30, 40:50] = 1
    volume = replace(volume, known=Known(empty=given, record={"task": "before"}))
    lazy = replace(volume, data=da.from_array(volume.data, chunks=(2, 20, 80)))
    travelled = pickle.loads(pickle.dumps(volume))
    assert travelled.record is None
    for one in (volume, lazy, travelled, replace(travelled, data=volume.data.copy())):
        np.testing.assert_array_equal(Emptiness(one)[:] > 0, empty | (given > 0))
    part = Emptiness(volume.part(slice(1, 4)))
    assert [part.missing(z) for z in range(3)] == [False, False, True]


def test_only_the_outermost_lines_are_read_of_a_section_without_a_margin() -> None:
    class Store:
        """Remembers how many voxels were asked for."""

        shape, dtype, ndim, read = SHAPE, np.dtype(np.uint8), 3, 0

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
            part = Phantom(shape=SHAPE).volume().data[key]
            self.read += part.size
            return part

    store = Store()
    found = Emptiness(Volume.of(store))
    assert found.section(2, slice(10, 20), slice(10, 20)) is None
    assert store.read == 2 * SHAPE[1] + 2 * SHAPE[2]
    found.section(2)
    assert store.read == 2 * SHAPE[1] + 2 * SHAPE[2]


def test_what_was_written_to_is_looked_at_again() -> None:
    volume, empty = planted()
    assert Emptiness(volume).section(0) is not None
    volume.data[0] = Phantom(shape=SHAPE).volume().data[0]
    assert Emptiness(volume).section(0) is None
    assert Emptiness(volume).share(1) == pytest.approx(empty[1].mean())


def test_a_volume_is_stated_to_be_empty_only_where_it_is() -> None:
    whole = Phantom(shape=SHAPE).volume()
    assert stated(whole, range(6)) is whole
    volume, empty = planted()
    known = stated(volume, [2]).known
    assert known is not None
    np.testing.assert_array_equal(known.empty, empty)


def test_one_serves_where_another_is_empty_and_tissue_goes_on_where_all_are() -> None:
    rng = np.random.default_rng(0)
    images = {o: rng.standard_normal((40, 60)).astype(np.float32) for o in (-1, 1)}
    empty = {-1: np.zeros((40, 60), bool), 1: np.zeros((40, 60), bool)}
    empty[-1][:, :30] = empty[1][:, :25] = True
    seen = served(images, empty, lambda o: [-o])
    np.testing.assert_array_equal(seen[-1][:, 25:30], images[1][:, 25:30])
    np.testing.assert_array_equal(seen[-1][:, 30:], images[-1][:, 30:])
    for o in (-1, 1):
        near = seen[o][:, 25 - FRINGE : 25]
        np.testing.assert_array_equal(near, np.repeat(images[1][:, 25:26], FRINGE, axis=1))
        assert not seen[o][:, : 25 - FRINGE].any()
    assert everywhere([empty[-1], None]) is None
    assert everywhere(empty.values()).mean() == 25 / 60


def test_a_chunk_of_many_sections_is_read_once_for_their_margins() -> None:
    da = pytest.importorskip("dask.array")
    read = []

    def spy(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(tuple(block_info[0]["chunk-location"]))
        return block

    whole = Phantom(shape=(12, 96, 96)).volume().data
    source = da.from_array(whole, chunks=(12, 32, 32)).map_blocks(
        spy, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8)
    )
    lazy = Volume.of(source)
    box = (slice(2, 9), slice(40, 60), slice(40, 60))
    assert Emptiness(lazy).block(whole[box], *box) is None
    assert sorted(read) == [(0, y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    assert Emptiness(lazy).block(whole[box], *box) is None
    assert len(read) == 8, "what was found is remembered"
