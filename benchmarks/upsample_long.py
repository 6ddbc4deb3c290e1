"""What ``upsample.py`` measures of time and memory.

Speed: 64 thick sections of 512 x 512 px (slab means of four of a training volume) upsampled by four, once everything is
loaded. Efficiency: the time spent inside the networks over the whole. Memory: the command line from Zarr to Zarr,
peak resident size minus that of eight sections, while the volume grows eightfold along z;
``python benchmarks/upsample_long.py METHOD DEVICE SECTIONS`` measures one size, one process each.
"""

from __future__ import annotations

import json
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
        asked = Request.of(
            "upsample", volume, method, weights=None, params=None, voxel_nm=None, runtime=runtime
        )
        clock = Clock(asked.built())
        for sampling in SAMPLINGS:

            def run(stack: np.ndarray[Any, Any], sampling: str = sampling, method: str = method) -> None:
                es.upsample(stack, FACTOR, sampling=sampling, method=method, selfcheck=False, runtime=runtime)

            run(volume[:8, :64, :64])
            seconds, inside = clock.timed(lambda run=run: run(volume))  # type: ignore[misc]
            row = {"seconds": seconds, "voxels_per_second": voxels / seconds}
            out[f"{method} {sampling}"] = row | ({"efficiency": inside / seconds} if clock.networks else {})
            print(f"{method} {sampling}: " + ", ".join(f"{k} {v:.3g}" for k, v in row.items()), end="")
            print(
                f", {100 * inside / seconds:.0f} % of it inside the networks" if clock.networks else "",
                flush=True,
            )
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
    """Return by method the memory, MB beyond that of eight sections, for few and for many sections."""
    out: dict[str, dict[str, float]] = {}
    print(f"\nMemory beyond that of 8 sections of {GROWN_EDGE} x {GROWN_EDGE} px by {FACTOR}, MB\n")
    for method in methods(rows):
        for sections in SIZES:
            command = [sys.executable, __file__, method, device, str(sections)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{method}: {sections} sections failed: {done.stderr.strip()[-300:]}")
                continue
            out.setdefault(method, {}).update(json.loads(done.stdout.splitlines()[-1]))
        print(f"{method}: {out.get(method)}", flush=True)
    return out


def grow(method: str, device: str, sections: int) -> dict[str, float]:
    """Return peak minus baseline of upsampling so many sections from Zarr to Zarr, MB; in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("few", 8), ("many", sections)):
            _write(Path(folder) / f"{name}.zarr", count)
        _upsampled(Path(folder), "few", method, device)
        before = peak_mb()
        _upsampled(Path(folder), "many", method, device)
        return {str(sections): peak_mb() - before, "baseline": before}


def _write(path: Path, count: int) -> None:
    """Write a volume section by section, so that the writer never holds it."""
    import zarr

    rng = np.random.default_rng(0)
    shape, chunk = (count, GROWN_EDGE, GROWN_EDGE), (8, 128, 128)
    store = zarr.create_array(str(path), shape=shape, chunks=chunk, dtype="uint8")
    coarse = rng.normal(128, 40, (GROWN_EDGE // 8, GROWN_EDGE // 8))
    for z in range(0, count, chunk[0]):
        noise = rng.normal(0, 5, (chunk[0], GROWN_EDGE, GROWN_EDGE))
        store[z : z + chunk[0]] = np.clip(np.kron(coarse, np.ones((8, 8))) + noise, 0, 255).astype(np.uint8)


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
