"""What is left out: where it is looked for, when nothing is, and how it is said."""

import json

import numpy as np
import pytest

from napari_emsynth.errors import Cancelled
from napari_emsynth.methods.blocks import middle
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.damage import plant, spread
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.trust import intact
from napari_emsynth.trust.intact import around, left_out, nearest_to_middle, side_of
from napari_emsynth.volume import Volume

PLAN = {3: "blurred", 9: "blank", 14: "displaced", 20: "half-missing"}


@pytest.fixture(scope="module")
def stack():
    return Phantom(shape=(24, 96, 96), noise=8.0).volume().data


def of(data):
    return Volume.of(data)


class Counted:
    """An array that knows which sections were read."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, set()

    def __getitem__(self, key):
        self.read.update(range(*key[0].indices(self.shape[0])))
        return self.data[key]


def test_every_kind_is_left_out_but_for_what_the_user_named(stack):
    volume = of(plant(stack, PLAN, seed=1)[0])
    found = left_out(volume)
    assert found.kinds == PLAN
    assert found.looked == tuple(range(24))
    assert left_out(volume, named=[9, 14]).kinds == {3: "blurred", 20: "half-missing"}
    assert left_out(volume, kinds=["blank"]).kinds == {9: "blank"}
    assert 9 in found
    assert 10 not in found


def test_an_intact_stack_loses_nothing(stack):
    found = left_out(of(stack))
    assert found.sections == frozenset()
    assert found.notices("the self-check") == []


def test_a_false_alarm_costs_nothing(stack):
    data = stack.copy()
    data[6:] = data[5]
    found = left_out(of(data))
    assert found.sections == frozenset()
    assert found.spared == 18
    (line,) = found.notices("the self-check")
    assert line.startswith("18 of 24 sections look damaged")
    assert "none is left out of the self-check" in line


def test_half_of_a_stack_may_be_left_out(stack):
    data = stack.copy()
    data[12:] = 0
    assert left_out(of(data)).sections == frozenset(range(12, 24))


def test_one_line_says_which_and_why(stack):
    found = left_out(of(plant(stack, {9: "blank", 10: "blank", 14: "displaced"}, seed=1)[0]))
    (line,) = found.notices("the self-check")
    assert line == "section(s) 9-10 (blank), 14 (displaced) look damaged: left out of the self-check"
    told = json.loads(json.dumps(found.to_json()))
    assert told["sections"][0] == {"section": 9, "kind": "blank"}
    assert told["looked_at"] == "0-23"


def test_a_large_volume_is_looked_at_around_what_matters(monkeypatch):
    data = np.concatenate([Phantom(shape=(40, 64, 64), noise=8.0, seed=seed).volume().data for seed in (0, 0)])
    data = plant(data, {10: "blank", 38: "blank", 70: "blank"}, seed=1)[0]
    monkeypatch.setattr(intact, "SIDE", 12)
    counted = Counted(data)
    found = left_out(of(counted), [30, 31])
    assert found.kinds == {38: "blank"}
    assert found.looked == tuple(range(18, 44))
    assert counted.read == set(range(15, 44))  # three more, to match the first
    assert found.to_json()["looked_at"] == "18-43"


def test_a_lost_run_that_fills_the_window_is_no_false_alarm(monkeypatch):
    data = Phantom(shape=(80, 64, 64), noise=8.0).volume().data.copy()
    data[30:50] = 0
    monkeypatch.setattr(intact, "SIDE", 12)
    assert left_out(of(data), [40]).sections == frozenset(range(30, 50))


def test_fewer_large_sections_are_looked_at():
    assert side_of((500, 256, 256)) == intact.SIDE
    assert side_of((500, 1024, 1024)) == 16
    assert side_of((500, 8192, 8192)) == 12


@pytest.mark.parametrize(
    ("sections", "runs"),
    [
        ([5], [range(3, 8)]),
        ([0, 19], [range(3), range(17, 20)]),
        ([5, 9], [range(3, 12)]),
        ([5, 10], [range(3, 13)]),
        ([5, 11], [range(3, 8), range(9, 14)]),
        ([], []),
    ],
)
def test_runs_around_sections(sections, runs):
    assert around(sections, 2, 20) == runs


@pytest.mark.parametrize(("count", "most"), [(48, 15), (47, 15), (48, 24), (5, 9), (9, 4), (1, 1)])
def test_the_middle_of_an_intact_stack_is_what_it_always_was(count, most):
    assert nearest_to_middle(count, most) == list(range(count))[middle(count, most)]


def test_damaged_sections_are_passed_over_in_the_middle():
    assert nearest_to_middle(10, 4, {4, 5}) == [2, 3, 6, 7]
    assert nearest_to_middle(10, 4, range(3)) == [3, 4, 5, 6]
    assert nearest_to_middle(4, 4, {0, 1, 2}) == [3]


def test_it_can_be_cancelled(stack):
    token = CancelToken()

    def progress(done, total, message):
        if done == 5:
            token.cancel()

    with pytest.raises(Cancelled):
        left_out(of(stack.copy()), runtime=Runtime(progress=progress, cancel=token))


def test_the_same_whatever_was_asked_before(stack):
    data = plant(stack, spread(24, seed=2), seed=2)[0]
    fresh = left_out(of(data.copy()), [4])
    volume = of(data)
    left_out(volume, [20])
    assert left_out(volume, [4]) == fresh
