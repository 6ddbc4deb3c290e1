"""How much memory a command takes for taller and taller stacks: it may depend on the section, not on the stack.

Counted is anonymous memory (Linux), the peak of the whole process; pages of mapped files are none. Every stack is a
Zarr of drifting noise, every command a process of its own.

    python benchmarks/memory.py [--sections 64 256 512] [--edge 512] [--task interpolate] [--out .zarr] [-- FLAGS]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

import napari_emsynth as es

SECONDS_BETWEEN_LOOKS = 0.02


def stack(path: Path, sections: int, edge: int) -> Path:
    """Write a stack whose sections drift."""

    def section(block_info: Any = None) -> Any:
        z = block_info[None]["array-location"][0][0]
        blobs = np.random.default_rng(0).normal(size=(edge + sections, edge))[z : z + edge]
        return (128 + 40 * blobs).clip(0, 255).astype(np.uint8)[None]

    chunks = ((1,) * sections, (edge,), (edge,))
    data = da.map_blocks(section, chunks=chunks, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    return es.write(es.Volume.of(data, voxel_nm=(30, 8, 8)), path)


def anonymous_mb(pid: int) -> float:
    """Return the anonymous memory of a process, 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def peak_mb(words: list[str]) -> tuple[float, float]:
    """Run a command; return the peak of its anonymous memory and its seconds."""
    started, peak = time.monotonic(), 0.0
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_emsynth.cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        peak = max(peak, anonymous_mb(process.pid))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise SystemExit(f"emsynth {' '.join(words)} ended with {process.returncode}")
    return peak, time.monotonic() - started


def flags_of(task: str, sections: int) -> list[str]:
    """Return what a task is asked where the user says nothing."""
    return {
        "interpolate": ["--sections", f"{sections // 3},{sections // 2}"],
        "upsample": ["--factor", "2"],
        "superres": ["--factor", "8"],
    }.get(task, [])


def main() -> None:
    """Measure and print one line a stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--task", default="interpolate")
    parser.add_argument("--out", default=".zarr")
    parser.add_argument("flags", nargs="*", help="of the command, after --")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for sections in args.sections:
            source = stack(Path(folder, f"{sections}.zarr"), sections, args.edge)
            words = [args.task, str(source), str(Path(folder, f"out-{sections}{args.out}"))]
            peak, seconds = peak_mb([*words, *flags_of(args.task, sections), *args.flags])
            print(f"{args.task} {sections:5d} x {args.edge} x {args.edge}: {peak:6.0f} MB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
