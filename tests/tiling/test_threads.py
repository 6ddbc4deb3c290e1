"""How many threads compute: never more than the cores that are free, at least one, and what the user says goes."""

import os
import subprocess
import sys
import threading

import pytest
import torch

from napari_emsynth import waiting
from napari_emsynth.tiling import threads as module
from napari_emsynth.tiling.threads import DECIDED, LARGE_PX, LIMIT, Clocks, cores, fitting, threads


@pytest.fixture(autouse=True)
def undecided(monkeypatch):
    """Nobody said how many threads there are to be, and torch takes what it takes then."""
    for name in (*DECIDED, LIMIT):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


class Machine:
    """A machine with so many cores, of which others keep some busy."""

    def __init__(self, monkeypatch, count, busy):
        self.busy = busy
        monkeypatch.setattr(module, "_mine", lambda: range(count))
        monkeypatch.setattr(module, "_quota", lambda: None)
        monkeypatch.setattr(module._OTHERS, "busy", lambda: self.busy)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("busy", [0.0, 0.4, 0.6, 1.0, 1.9, 7.0, 500.0])
@pytest.mark.parametrize("pixels", [0, LARGE_PX - 1, LARGE_PX, None])
@pytest.mark.parametrize("spare", [0, 1])
def test_never_more_than_the_cores_that_are_free_and_at_least_one(monkeypatch, count, busy, pixels, spare):
    Machine(monkeypatch, count, busy)
    number = fitting(pixels, spare=spare)
    assert 1 <= number <= max(1, count - spare)
    assert number <= max(1, count - busy + 0.5)


def test_small_work_is_done_by_one_and_large_work_by_all_that_are_free(monkeypatch):
    machine = Machine(monkeypatch, 8, 0.0)
    assert fitting(LARGE_PX - 1) == 1
    assert (fitting(LARGE_PX), fitting(), fitting(spare=1)) == (8, 8, 7)
    machine.busy = 5.2
    assert (fitting(LARGE_PX), fitting(spare=1)) == (3, 3)


def test_the_number_is_what_torch_takes_and_afterwards_as_before():
    before = torch.get_num_threads()
    with threads(1) as number:
        assert number == torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_work_within_work_takes_no_more():
    with threads(2), threads(1) as inner:
        assert inner == torch.get_num_threads() == 1
        with threads(5) as innermost:
            assert innermost == torch.get_num_threads() == 1
    with threads(1), threads(2) as inner:
        assert inner == 1


@pytest.mark.parametrize("name", DECIDED)
def test_what_the_environment_says_goes(monkeypatch, name):
    before = torch.get_num_threads()
    monkeypatch.setenv(name, "3")
    with threads(before + 1) as number:
        assert number == torch.get_num_threads() == before


def test_what_was_told_to_torch_goes(monkeypatch):
    monkeypatch.setattr(module, "_usual", lambda: {4, 2})
    monkeypatch.setattr(module, "_GIVEN", set())
    torch.set_num_threads(3)
    with threads(1) as number:
        assert number == torch.get_num_threads() == 3
    torch.set_num_threads(4)
    with threads(1) as number:
        assert number == torch.get_num_threads() == 1


def test_every_thread_has_its_own_work():
    seen = []

    def other():
        with threads(2) as number:
            seen.append(number)

    with threads(1):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert torch.get_num_threads() == 1
    assert seen == [2], "the work of one thread does not bind another"


def test_cores_are_those_that_the_process_may_use(monkeypatch, tmp_path):
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(module, "_mine", lambda: range(16))
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(module, "QUOTA", quota)
    for text, expected in (("max 100000", 16), ("400000 100000", 4), ("50000 100000", 1), ("nonsense", 16)):
        quota.write_text(text)
        assert cores() == expected
    quota.unlink()
    for asked, expected in (("3", 3), ("99", 16), ("0", 16), ("-1", 16), ("many", 16), ("", 16)):
        monkeypatch.setenv(LIMIT, asked)
        assert cores() == expected


def test_what_others_do_is_what_the_cores_did_less_our_own(monkeypatch):
    looks = iter([Clocks(0.0, 10.0, 5.0), Clocks(0.01, 10.01, 5.0), Clocks(2.0, 13.0, 6.0), Clocks(4.0, 13.5, 7.0)])
    monkeypatch.setattr(Clocks, "now", classmethod(lambda cls: next(looks)))
    monkeypatch.setattr(module, "_load", lambda: 0.25)
    others = module._Others()
    assert others.busy() == 0.25  # too early to tell by the clocks
    assert others.busy() == pytest.approx((3.0 - 1.0) / 2.0)
    assert others.busy() == 0.0  # never below


def test_a_busy_neighbour_is_noticed():
    first = Clocks.now()
    spin = subprocess.run(
        [sys.executable, "-c", "import time; t = time.process_time\nwhile t() < 0.4: pass"], check=True
    )
    assert spin.returncode == 0
    last = Clocks.now()
    # Its 0.4 s are in the cores' time and not in our own.
    assert (last.busy - first.busy) - (last.own - first.own) > 0.3


# ---------------------------------------------------------------------------------- waiting

REPORT = "import os, sys; import napari_emsynth; print([os.environ.get(n) for n in {names}], 'torch' in sys.modules)"


def told(**environment):
    clean = {k: v for k, v in os.environ.items() if k not in waiting.ASLEEP}
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(names=list(waiting.ASLEEP))],
        capture_output=True, text=True, check=True, timeout=60, env=clean | environment,
    )  # fmt: skip
    return done.stdout.strip()


def test_threads_are_to_sleep_while_they_wait_said_before_torch_is_loaded():
    assert told() == f"{list(waiting.ASLEEP.values())} False"


def test_how_the_user_wants_them_to_wait_goes():
    assert told(OMP_WAIT_POLICY="ACTIVE") == "['ACTIVE', None, None] False"
    assert told(GOMP_SPINCOUNT="1000") == "[None, '1000', None] False"
