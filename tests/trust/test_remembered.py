"""What is remembered of a volume: by identity, as long as it lives, and only while it is what it was."""

import gc
import threading
import weakref

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.testing.damage import plant
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.trust.detect import detect, examine
from napari_emsynth.trust.remembered import ByIdentity, of_the_whole, shows
from napari_emsynth.volume import Volume


class Counted:
    """An array that counts how often each section was read, and can be referred to weakly."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.read = []

    def __getitem__(self, key):
        self.read += range(*key[0].indices(self.shape[0]))
        return self.data[key]


@pytest.fixture
def stack():
    return Phantom(shape=(16, 96, 96), noise=8.0).volume().data.copy()


def kinds(suspects):
    return {s.section: s.kind for s in suspects}


def test_a_volume_is_measured_once(stack):
    counted = Counted(plant(stack, {5: "blank"})[0])
    first = detect(Volume.of(counted))
    assert sorted(counted.read) == list(range(16))
    assert detect(Volume.of(counted)) == first
    assert sorted(counted.read) == list(range(16))


def test_what_is_measured_of_some_sections_serves_all(stack):
    counted = Counted(plant(stack, {5: "blank", 9: "displaced"})[0])
    examine(Volume.of(counted), sections=range(4, 10))
    # The three before the first are looked at to match it, and measured when they are asked for.
    assert sorted(counted.read) == list(range(1, 10))
    assert kinds(detect(Volume.of(counted))) == {5: "blank", 9: "displaced"}
    assert detect(Volume.of(counted)) == detect(Volume.of(counted.data))


@pytest.mark.parametrize("kind", ["blank", "saturated", "blurred", "half-missing", "displaced"])
def test_an_array_that_was_written_to_is_noticed(stack, kind):
    volume = Volume.of(stack)
    assert detect(volume) == []
    before = stack[7].copy()
    stack[7] = plant(stack, {7: kind}, seed=3)[0][7]
    assert kinds(detect(volume)) == {7: kind}
    stack[7] = before
    assert detect(volume) == []


def test_views_of_the_same_pixels_share_what_is_known_and_others_do_not(stack):
    both = np.stack((plant(stack, {5: "blank"})[0], plant(stack, {9: "blank"})[0]))
    assert [kinds(detect(Volume.of(both[i]))) for i in (0, 1, 0)] == [{5: "blank"}, {9: "blank"}, {5: "blank"}]
    assert kinds(detect(Volume.of(both[0][::-1]))) == {10: "blank"}


def test_no_volume_is_kept_alive(stack):
    arrays = [stack, da.from_array(stack.copy()), Counted(stack.copy())]
    for array in arrays:
        detect(Volume.of(array))
    alive = [weakref.ref(array) for array in arrays]
    del arrays, array, stack
    gc.collect()
    assert [ref() for ref in alive[1:]] == [None, None]


def test_a_lazy_array_that_shows_a_volume_shares_what_is_known(stack):
    volume = Volume.of(plant(stack, {5: "blank"})[0])
    assert kinds(detect(volume)) == {5: "blank"}
    lazy = Counted(volume.data.copy())
    shows(lazy, volume)
    assert kinds(detect(Volume.of(lazy))) == {5: "blank"}
    assert lazy.read == []
    # A copy stays what it was when the volume is written to, and the volume is looked at anew.
    volume.data[5] = stack[5]
    assert detect(volume) == []
    assert kinds(detect(Volume.of(lazy))) == {5: "blank"}


def test_values_go_with_their_objects():
    held, key = ByIdentity(), np.zeros(3)
    assert held.get(key) is None
    assert held.put(key, "a") == "a"
    assert held.put(key, "b") == "a"  # the first to come is remembered
    assert held.get(np.zeros(3)) is None
    del key
    gc.collect()
    assert len(held) == 0


def test_what_cannot_be_referred_to_weakly_is_not_remembered():
    held, key = ByIdentity(), (1, 2)
    assert held.put(key, "a") == "a"
    assert held.get(key) is None


def test_threads_agree(stack):
    volume, found = Volume.of(plant(stack, {5: "blank", 9: "displaced"})[0]), []
    threads = [threading.Thread(target=lambda: found.append(kinds(detect(volume)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{5: "blank", 9: "displaced"}] * 4


def test_a_whole_volume_is_measured_once_until_it_is_written_to():
    data = np.arange(3 * 40 * 40, dtype=np.float32).reshape(3, 40, 40)
    volume, calls = Volume.of(data), []

    def measure():
        calls.append(1)
        return float(volume.data.mean())

    first = of_the_whole(volume, "mean", "key", measure)
    assert of_the_whole(Volume.of(data), "mean", "key", measure) == first
    assert len(calls) == 1
    of_the_whole(volume, "mean", "another key", measure)
    assert len(calls) == 2
    data[1] += 1
    assert of_the_whole(volume, "mean", "key", measure) == pytest.approx(first + 1 / 3, abs=1e-3)
    assert len(calls) == 3
