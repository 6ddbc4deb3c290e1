"""What takes long in ``align.py``: a stack of 1024 x 1024 x 64, and memory while a stack grows.

``python benchmarks/align_long.py --grow SECTIONS METHOD DEVICE`` prints the peak resident size of aligning that many
sections minus the baseline, MB; one process a size.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from align_cases import JITTER, pulled, to_bytes
from align_ours import IDS
from align_peers import Peer

SECTIONS, EDGE = 64, 1024
TIMED_PAIRS = 2
# Few and many sections; of such an edge, so that 512 take minutes and not hours.
SIZES, GROWN_EDGE = (64, 512), 256


def large_stack(data: Path) -> np.ndarray:
    """Return [64, 1024, 1024] uint8: the sections of the larval ssTEM there and back, each distorted anew."""
    whole = tifffile.imread(data / "vnc_sstem_eval.tif")[:, :EDGE, :EDGE]
    there_and_back = [*range(len(whole)), *range(len(whole) - 2, 0, -1)]
    rng = np.random.default_rng(0)
    out = np.empty((SECTIONS, EDGE, EDGE), np.uint8)
    for z in range(SECTIONS):
        section = whole[there_and_back[z % len(there_and_back)]]
        out[z] = to_bytes(pulled(section, JITTER.draw(rng, section.shape)))
    return out


def wall_time(data: Path, peers: Sequence[Peer], threads: int) -> dict[str, float]:
    """Return seconds for the whole stack: ours measured, elastix from a few pairs times one pair a section."""
    stack, out = large_stack(data), {}
    print(f"\n**A stack of {EDGE} x {EDGE} x {SECTIONS}, wall time**\n")
    for peer in peers:
        if peer.name == "elastix" and peer.batch is not None:
            values = stack[: TIMED_PAIRS + 1].astype(np.float32)
            asked = [(values[z], values[z - 1]) for z in range(1, TIMED_PAIRS + 1)]
            seconds = float(np.mean(peer.batch(asked, threads).seconds)) * (SECTIONS - 1)
            note = f"  (mean of {TIMED_PAIRS} pairs, times {SECTIONS - 1} neighbours)"
        elif peer.name.startswith("emsynth: ") and peer.stack is not None:
            started = time.perf_counter()
            peer.stack(stack)
            seconds, note = time.perf_counter() - started, "  (measured, three neighbours a section)"
        else:
            continue
        out[peer.name] = seconds
        print(f"{peer.name}: {seconds:.0f} s{note}", flush=True)
    return out


def grow(sections: int, method: str, device: str) -> float:
    """Return the peak minus the baseline of aligning a lazy stack into a file, MB; called in a process of its own."""
    import dask.array as da

    import napari_emsynth as es

    def section(block_info: Any = None) -> np.ndarray:
        z = block_info[None]["array-location"][0][0]
        rng = np.random.default_rng(z)
        coarse = np.random.default_rng(0).normal(size=(GROWN_EDGE // 8 + 2,) * 2)
        fine = np.kron(coarse, np.ones((8, 8)))
        u = JITTER.draw(rng, (GROWN_EDGE, GROWN_EDGE))
        return to_bytes(128 + 40 * pulled(fine, u, (8, 8)) + rng.normal(0, 4, u.shape[1:]))[None]

    def lazy(count: int) -> Any:
        chunks = ((1,) * count, (GROWN_EDGE,), (GROWN_EDGE,))
        return da.map_blocks(section, chunks=chunks, dtype=np.uint8)

    with tempfile.TemporaryDirectory() as folder:
        es.write(es.align(lazy(8), method=method, device=device, selfcheck=False), str(Path(folder) / "a.ome.zarr"))
        before = peak_mb()
        es.write(
            es.align(lazy(sections), method=method, device=device, selfcheck=False), str(Path(folder) / "b.ome.zarr")
        )
        return peak_mb() - before


def peak_mb() -> float:
    """Return the peak resident size of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(peers: Sequence[Peer], device: str) -> dict[str, dict[str, float]]:
    """Return how much memory aligning takes for few and for many sections, MB beyond that of eight."""
    out: dict[str, dict[str, float]] = {}
    # glibc keeps freed blocks unless told to give large ones back; the peak should be what was alive.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    print(f"\n**Memory beyond that of 8 sections of {GROWN_EDGE} x {GROWN_EDGE} px, MB**\n")
    for method in (m for m in IDS if any(p.name == f"emsynth: {m}" for p in peers)):
        for sections in SIZES:
            command = [sys.executable, __file__, "--grow", str(sections), method, device]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                print(f"{method}: {sections} sections failed: {done.stderr.strip()[-200:]}")
                continue
            out.setdefault(method, {})[str(sections)] = json.loads(done.stdout.splitlines()[-1])
        print(f"{method}: {out.get(method)}", flush=True)
    return out


if __name__ == "__main__":
    print(json.dumps(grow(int(sys.argv[2]), sys.argv[3], sys.argv[4])))
