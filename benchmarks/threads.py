"""The thread policy: alone and beside busy programs, against what torch does by itself.

    python benchmarks/threads.py [--neighbours 2] [--limit 300] [--json FILE]

Three pieces of work on the bundled sample: three sections of 128 x 128 px aligned, six sections of 256 x 256 px
interpolated with their self-check, three steps of a training. Each runs in a process of its own, without what it takes
to load it. *default* is torch's own way, threads that spin, one a core; *policy* is the package's. A neighbour is a
process that keeps one core busy. The load of the machine before anything was started is told: where it is not near 0,
"alone" is not alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

BUSY = "while True: pass"
# As GNU's runtime waits when nobody says anything; said by the user, so that the policy stands back.
SPINS = "300000"
STEPS = 3


def align() -> Callable[[], Any]:
    """Three sections onto each other."""
    from napari_emsynth.methods.align.task import align as task
    from napari_emsynth.samples import truth
    from napari_emsynth.volume import Volume

    part = Volume.of(truth().data[10:13, :128, :128].copy(), voxel_nm=(10, 10, 10))
    return lambda: task(part, selfcheck=False)


def interpolate() -> Callable[[], Any]:
    """Six sections made anew."""
    from napari_emsynth.methods.interpolate.task import interpolate as task
    from napari_emsynth.samples import damaged, planted

    return lambda: task(damaged(), [p.section for p in planted()])


def train() -> Callable[[], Any]:
    """Steps of gradient descent."""
    import numpy as np
    import torch

    from napari_emsynth.methods.interpolate.emsynth.method import Recipe
    from napari_emsynth.samples import truth
    from napari_emsynth.training.data import split
    from napari_emsynth.training.loop import Trainer
    from napari_emsynth.training.plan import Plan

    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "none"
    trainer = Trainer(Recipe(split(truth())), Plan(steps=STEPS), checkpoint, torch.device("cpu"), 0)
    return lambda: [trainer.step(np.random.default_rng(k)) for k in range(STEPS)]


CASES = {"3 sections aligned": align, "6 sections interpolated": interpolate, "3 training steps": train}


def measure(name: str) -> None:
    """Do one piece of work and print its wall time and its processor time in s."""
    work = CASES[name]()
    started, before = time.perf_counter(), time.process_time()
    work()
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - before}))


@contextmanager
def beside(neighbours: int) -> Iterator[None]:
    """Keep as many cores busy."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(neighbours)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def environment(way: str) -> dict[str, str]:
    """Return the environment of a child that computes in one way."""
    from napari_emsynth.tiling.threads import DECIDED, cores
    from napari_emsynth.waiting import ASLEEP

    clean = {name: value for name, value in os.environ.items() if name not in {*DECIDED, *ASLEEP}}
    if way == "policy":
        return clean
    return clean | {"OMP_NUM_THREADS": str(cores()), "GOMP_SPINCOUNT": SPINS}


def child(name: str, way: str, limit: float) -> dict[str, float] | None:
    """Return what a piece of work took in one way; None when it was not finished in time."""
    words = [sys.executable, __file__, "--case", name]
    try:
        done = subprocess.run(words, env=environment(way), capture_output=True, text=True, check=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def told(found: dict[str, float] | None, limit: float) -> str:
    """Return a figure for a person."""
    return f"> {limit:.0f} s" if found is None else f"{found['seconds']:.1f} s ({found['cpu']:.1f} cpu)"


def main() -> int:
    """Measure everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, help="do one piece of work, in this process")
    parser.add_argument("--neighbours", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a piece of work may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.case:
        measure(options.case)
        return 0
    load, rows = os.getloadavg()[0], []
    print(f"{os.cpu_count()} cores, load {load:.1f} before\n")
    print(f"{'':26}{'beside':10}{'default':24}policy")
    for name in CASES:
        for neighbours in (0, options.neighbours):
            with beside(neighbours):
                found = {way: child(name, way, options.limit) for way in ("default", "policy")}
            rows.append({"work": name, "neighbours": neighbours, **found})
            ways = [told(found[way], options.limit) for way in ("default", "policy")]
            print(f"{name:26}{neighbours:<10}{ways[0]:24}{ways[1]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"load": load, "cores": os.cpu_count(), "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
