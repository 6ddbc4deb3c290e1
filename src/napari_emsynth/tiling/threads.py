"""How many threads compute: as many as the work is worth and the machine has free.

Many operations on small images are done by one thread before several have found together, and threads that wait for one
whose core is busy with something else wait long: a small alignment on two cores beside two busy programs takes 31 times
as long with two threads as with one (``benchmarks/threads.py``).

Laws: never more threads than cores that are free, and at least one; what the user decided (``OMP_NUM_THREADS``,
``MKL_NUM_THREADS``, ``torch.set_num_threads``) stays as it is; afterwards all is as it was before. How threads wait
for each other is in :mod:`napari_emsynth.waiting`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

LIMIT = "EMSYNTH_CORES"
"""Most cores that a process takes, where its environment says so."""
DECIDED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""By these the user decides how many threads there are."""
LARGE_PX = 1 << 18
"""Sections of fewer pixels are the work of one thread."""
# Two looks at the machine's clocks must be this far apart to tell how busy it is, s.
SHORTEST = 0.2
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# What a core that is not idle does, by the names of psutil; not every system tells each.
WORK = ("user", "nice", "system", "irq", "softirq", "steal")


def cores() -> int:
    """Return how many cores this process may use: by its affinity, the quota of its group, and :data:`LIMIT`."""
    limits = (len(_mine()), _quota(), _asked())
    return max(1, min(limit for limit in limits if limit is not None))


def _mine() -> Collection[int]:
    """Return the cores that the system lets this process run on."""
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not everywhere
        return range(os.cpu_count() or 1)


def _quota() -> int | None:
    try:
        quota, period = QUOTA.read_text().split()
        return None if quota == "max" else max(1, int(quota) // int(period))
    except (OSError, ValueError):
        return None


def _asked() -> int | None:
    asked = os.environ.get(LIMIT, "")
    return int(asked) if asked.isdecimal() and int(asked) > 0 else None


# ---------------------------------------------------------------------------------- what others do


@dataclass(frozen=True)
class Clocks:
    """What the machine's cores and this process had done at a time, s.

    Args:
        at: the time.
        busy: of all cores that this process may run on, since the machine started.
        own: of this process.
    """

    at: float
    busy: float
    own: float

    @classmethod
    def now(cls) -> Clocks:
        """Look at them."""
        mine = _mine()
        busy = sum(
            getattr(spent, kind, 0.0)
            for core, spent in enumerate(psutil.cpu_times(percpu=True))
            if core in mine
            for kind in WORK
        )
        return cls(time.monotonic(), busy, time.process_time())


class _Others:
    """How many cores others kept busy, from one look to the next."""

    def __init__(self) -> None:
        self._lock, self._last, self._told = threading.Lock(), Clocks.now(), _load()

    def busy(self) -> float:
        """Return how many of the cores that this process may use are taken by others, 0 or more."""
        with self._lock:
            now, last = Clocks.now(), self._last
            if now.at - last.at >= SHORTEST:
                spent = (now.busy - last.busy) - (now.own - last.own)
                self._told, self._last = max(0.0, spent / (now.at - last.at)), now
            return self._told


def _load() -> float:
    """Return how many programs ran in the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0


_OTHERS = _Others()


def free() -> int:
    """Return how many cores are free for this process, at least one."""
    total = cores()
    return max(1, min(total, round(total - _OTHERS.busy())))


# ---------------------------------------------------------------------------------- how many


def fitting(pixels: int | None = None, *, spare: int = 0) -> int:
    """Return how many threads fit a piece of work.

    Args:
        pixels: of the images that it computes on; None for work that is large whatever they are, as training is.
        spare: cores that are to be left to someone else.
    """
    if pixels is not None and pixels < LARGE_PX:
        return 1
    return max(1, min(free(), cores() - spare))


class _Allowed(threading.local):
    """How many threads the work that this thread is in the middle of may take; None outside of any."""

    number: int | None = None


_ALLOWED, _GIVEN = _Allowed(), set[int]()


def decided() -> bool:
    """Return whether the user decided how many threads there are."""
    if any(os.environ.get(name) for name in DECIDED):
        return True
    return torch.get_num_threads() not in _usual() | _GIVEN


def _usual() -> set[int]:
    """Return how many threads torch may take where nobody says anything: one a core, or one for two that share one."""
    count = os.cpu_count() or 1
    return {count, len(_mine()), max(1, count // 2), max(1, len(_mine()) // 2)}


@contextmanager
def threads(number: int) -> Iterator[int]:
    """Compute with so many threads, unless the user decided; yields how many there are.

    Work within other work takes no more threads than that was given.

    Args:
        number: see :func:`fitting`.
    """
    before, outer = torch.get_num_threads(), _ALLOWED.number
    if decided():
        yield before
        return
    number = number if outer is None else min(number, outer)
    _GIVEN.add(number)
    _ALLOWED.number = number
    torch.set_num_threads(number)
    try:
        yield number
    finally:
        _ALLOWED.number = outer
        torch.set_num_threads(before)
