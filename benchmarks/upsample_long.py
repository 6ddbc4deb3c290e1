"""What ``upsample.py`` measures of time and memory.

Speed: 64 thick sections of 512 x 512 px (slab means of four of a training volume) upsampled by four, once everything is
loaded. Efficiency: the time spent inside the networks over the whole. Memory: the command line from Zarr to Zarr,
peak resident size minus that of a tiny volume, while the volume grows eightfold along z;
``python benchmarks/upsample_long.py METHOD DEVICE SECTIONS`` measures one size, one process each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

import napari_emsynth as es
from napari_emsynth.methods import INDEX
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import Runtime

FACTOR = 4
SECTIONS, EDGE = 64, 512
# Few and many sections, and how wide they are, so that the larger takes minutes.
SIZES, GROWN_EDGE = (32, 256), 256
# Sections and edge of the volume that loads everything once: the baseline.
TINY = (4, 32)
SAMPLINGS = ("point", "slab")


def methods(rows: Sequence[str]) -> list[str]:
    """Return the methods of the package, of those asked for, that do any factor."""
    return [row for row in rows if row in INDEX["upsample"] and row != "jain2017"]


def thick(data: Path) -> np.ndarray[Any, Any]:
    """Return [64, 512, 512] uint8."""
    fine = tifffile.imread(data / "fib25_train_large.tif")[: SECTIONS * FACTOR, :EDGE, :EDGE]
    return to_dtype(degraded(fine.astype(np.float32), FACTOR, "slab"), fine.dtype)


def speed(data: Path, rows: Sequence[str], runtime: Runtime) -> dict[str, dict[str, float]]:
    """Return seconds, output voxels a second and efficiency of every method and sampling."""
    volume, out = thick(data), {}
    voxels = SECTIONS * FACTOR * EDGE * EDGE
    print(f"\n{SECTIONS} sections of {EDGE} x {EDGE} px by {FACTOR}, {torch.get_num_threads()} threads\n")
    for method in methods(rows):
        asked = Request.of("upsample", volume, method, weights=None, params=None, runtime=runtime)
        clock = Clock(asked.built())
        for sampling in SAMPLINGS:

            def run(stack: np.ndarray[Any, Any], sampling: str = sampling, method: str = method) -> None:
                es.upsample(stack, FACTOR, sampling=sampling, method=method, selfcheck=False, runtime=runtime)

            run(volume[:8, :64, :64])
            seconds, inside = clock.timed(lambda run=run: run(volume))  # type: ignore[misc]
            row = {"seconds": seconds, "voxels_per_second": voxels / seconds}
            out[f"{method} {sampling}"] = row | ({"efficiency": inside / seconds} if clock.networks else {})
            print(f"{method} {sampling}: " + ", ".join(f"{k} {v:.3g}" for k, v in row.items()), end="")
            print(f", {100 * inside / seconds:.0f} % of it inside the networks" if clock.networks else "", flush=True)
    return out


class Clock:
    """Takes the time that the networks of a built method compute, by hooks on each."""

    def __init__(self, method: Any) -> None:
        held = [getattr(m, "network", None) for m in (method, getattr(method, "along", None))]
        self.networks = [n for n in held if isinstance(n, torch.nn.Module)]
        self.inside = 0.0
        for network in self.networks:
            network.register_forward_pre_hook(self._start)
            network.register_forward_hook(self._stop)

    def _start(self, *_: Any) -> None:
        self.started = time.perf_counter()

    def _stop(self, *_: Any) -> None:
        self.inside += time.perf_counter() - self.started

    def timed(self, job: Callable[[], None]) -> tuple[float, float]:
        """Return the seconds of a job, and of the networks within it."""
        self.inside, started = 0.0, time.perf_counter()
        job()
        return time.perf_counter() - started, self.inside


def memory(rows: Sequence[str], device: str) -> dict[str, dict[str, float]]:
    """Return by method the memory, MB beyond that of a tiny volume, for few and for many sections, and their ratio."""
    out: dict[str, dict[str, float]] = {}
    # glibc keeps freed blocks unless told to give large ones back; the peak should be what was alive.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    print(f"\nMemory beyond the baseline, sections of {GROWN_EDGE} x {GROWN_EDGE} px by {FACTOR}, MB\n")
    for method in methods(rows):
        for sections in SIZES:
            command = [sys.executable, __file__, method, device, str(sections)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                print(f"{method}: {sections} sections failed: {done.stderr.strip()[-300:]}")
                continue
            out.setdefault(method, {}).update(json.loads(done.stdout.splitlines()[-1]))
        row = out.get(method, {})
        few, many = (row.get(str(n)) for n in SIZES)
        if few and many:
            row["growth"] = many / few
        print(f"{method}: " + ", ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
    return out


def grow(method: str, device: str, sections: int) -> dict[str, float]:
    """Return peak minus baseline of upsampling so many sections from Zarr to Zarr, MB; in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / "tiny.zarr", TINY[0], TINY[1])
        _write(Path(folder) / "large.zarr", sections, GROWN_EDGE)
        _upsampled(Path(folder), "tiny", method, device)
        before = peak_mb()
        _upsampled(Path(folder), "large", method, device)
        return {str(sections): peak_mb() - before, "baseline": before}


def _write(path: Path, count: int, edge: int) -> None:
    """Write a volume eight sections at a time, so that the writer never holds it."""
    import zarr

    rng = np.random.default_rng(0)
    store = zarr.create_array(str(path), shape=(count, edge, edge), chunks=(8, 128, 128), dtype="uint8")
    coarse = np.kron(rng.normal(128, 40, (edge // 8, edge // 8)), np.ones((8, 8)))
    for z in range(0, count, 8):
        sections = coarse + rng.normal(0, 5, (min(8, count - z), edge, edge))
        store[z : z + 8] = np.clip(sections, 0, 255).astype(np.uint8)


def _upsampled(folder: Path, name: str, method: str, device: str) -> None:
    """Run the command line in this process."""
    from napari_emsynth.cli.app import main

    source, out = (str(folder / f) for f in (f"{name}.zarr", f"{name}-out.ome.zarr"))
    words = ["upsample", source, out, "--factor", str(FACTOR), "--method", method, "--device", device]
    code = main([*words, "--voxel-size", "40,10,10"])
    assert code == 0, code


def peak_mb() -> float:
    """Return the peak resident size of this process, MB; not what its parent had when it was started."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    print(json.dumps(grow(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
