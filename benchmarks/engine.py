"""The tiling engine: how much of a bare network's speed is left, and whether memory grows with the volume.

Efficiency is voxels/s of the whole pipeline (read, pad, copy, compute, blend, write) over voxels/s of the bare
network fed with the same tiles that already lie in memory; the two take turns and the median of the rounds' ratios
counts, so that other work on the machine disturbs both alike. Memory is the peak resident size minus the baseline
(after a first tiny run), of one process a size, while the volume grows 8x along z through a lazy source and a
streaming sink.

    python benchmarks/engine.py [--rounds 5] [--threads N] [--device cpu] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.spec import Runtime
from napari_emsynth.tiling import describe, plan, resolve, resolve_precision, run

# 16 + 12 n: cut evenly into cores of 16 sections that share 4, so that every size has the same tiles.
SECTIONS = (40, 88, 160, 320)
EDGE = 512


def network(axes: int, width: int) -> nn.Module:
    """Return four plain convolutions; a small network, so that the engine's own work shows."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    torch.manual_seed(0)
    layers: list[nn.Module] = [conv(2, width, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [conv(width, width, 3, padding=1), nn.ReLU()]
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[axes]
    return nn.Sequential(*layers, conv(width, 1, 3, padding=1)).eval().to(memory_format=layout)


def efficiency(
    name: str, shape: tuple[int, ...], tile: tuple[int, ...], overlap: int, args: Any
) -> dict[str, Any]:
    """Return speeds of the pipeline and of the bare network on the same tiles."""
    axes, halo, device = len(shape), 4, resolve(args.device)
    net = network(axes, 32 if axes == 2 else 16).to(device)
    source = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    out = np.empty((1, *shape), dtype=np.float32)
    tiles = plan(shape, tile, (halo,) * axes, overlap=(overlap,) * axes)
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    ready = torch.randn(1, 2, *tiles[0].size, device=device).contiguous(memory_format=layout)
    dtype = resolve_precision("auto", device)

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            for _ in tiles:
                net(ready)

    def whole() -> None:
        runtime = Runtime(device=args.device)
        run(net, source, out, halo=halo, runtime=runtime, tile=tile, overlap=overlap, batch=1)

    seconds = alternate([bare, whole], args.rounds, device)
    bare_s, whole_s = np.median(seconds, axis=0)
    voxels = float(np.prod(shape))
    return {
        "case": name, "tiles": len(tiles), "tile": list(tiles[0].size),
        "bare_voxels_per_second": voxels / bare_s, "pipeline_voxels_per_second": voxels / whole_s,
        "efficiency": float(np.median(seconds[:, 0] / seconds[:, 1])),
    }  # fmt: skip


def alternate(jobs: list[Callable[[], None]], rounds: int, device: torch.device) -> np.ndarray:
    """Return [round, job] times, s; one round to warm up is not counted."""
    seconds = np.zeros((rounds + 1, len(jobs)))
    for turn in range(rounds + 1):
        for index, job in enumerate(jobs):
            start = time.perf_counter()
            job()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[turn, index] = time.perf_counter() - start
    return seconds[1:]


class Sections:
    """A lazy source [1, z, y, x]: a section is made when it is read."""

    def __init__(self, sections: int) -> None:
        self.shape = (1, sections, EDGE, EDGE)

    def read(self, where: tuple[slice, ...]) -> np.ndarray:
        z, y, x = (np.arange(w.start, w.stop, dtype=np.float32) for w in where)
        block: np.ndarray = np.sin(z[:, None, None] + y[:, None] * x)[None]
        return block


class Forget:
    """A streaming sink: counts what it is given and keeps nothing."""

    def __init__(self) -> None:
        self.far = 0
        self.voxels = 0

    def write(self, where: tuple[slice, ...], block: np.ndarray) -> None:
        self.far = max(self.far, where[0].stop)
        self.voxels += block.size


def blur(x: Tensor) -> Tensor:
    """Return a mean over 3 sections, through 8 feature maps as a network would hold; fast all the same."""
    maps = x.repeat(1, 8, 1, 1, 1).mean(1, keepdim=True)[..., 1:-1, 1:-1]
    return (maps[:, :, :-2] + maps[:, :, 1:-1] + maps[:, :, 2:]) / 3


def peak_mb() -> float:
    """Return the peak resident size of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def grow(sections: int) -> float:
    """Return the peak minus the baseline of one run, MB; called in a process of its own."""
    runtime, options = Runtime(device="cpu"), {"halo": 1, "tile": (16, 256, 256), "overlap": (4, 0, 0)}
    run(blur, np.zeros((1, 4, 4, 4), dtype=np.float32), runtime=runtime, halo=1)
    before = peak_mb()
    sink = Forget()
    run(blur, Sections(sections), sink, runtime=runtime, **options)  # type: ignore[arg-type]
    assert (sink.far, sink.voxels) == (sections, sections * EDGE * EDGE)
    return peak_mb() - before


def memory() -> list[dict[str, float]]:
    """Return the growth of memory for each size, one process a size."""
    # glibc keeps freed blocks unless told to give large ones back; the peak should be what was alive.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    rows = []
    for sections in SECTIONS:
        command = [sys.executable, __file__, "--grow", str(sections)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        rows.append(
            {
                "sections": sections,
                "volume_mb": sections * EDGE * EDGE * 4 / 2**20,
                "peak_mb": float(said),
            }
        )
    return rows


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [
        f"device {result['device']}",
        "",
        "case             tiles   bare Mvox/s   pipeline Mvox/s   efficiency",
    ]
    for row in result["efficiency"]:
        bare, whole = row["bare_voxels_per_second"] / 1e6, row["pipeline_voxels_per_second"] / 1e6
        lines.append(
            f"{row['case']:<16} {row['tiles']:>5} {bare:>13.3f} {whole:>17.3f} {row['efficiency']:>12.3f}"
        )
    lines += ["", "sections   volume MB   peak - baseline MB"]
    lines += [f"{r['sections']:>8} {r['volume_mb']:>11.0f} {r['peak_mb']:>20.1f}" for r in result["memory"]]
    return "\n".join(
        [
            *lines,
            f"growth while the volume grows {SECTIONS[-1] // SECTIONS[0]}x: {result['memory_growth']:.3f}",
        ]
    )


def main() -> None:
    """Measure, print the table, then one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.grow:
        print(grow(args.grow))
        return
    cases = [
        ("2-D", (1024, 1024), (512, 512), 0),
        ("2-D blended", (1024, 1024), (512, 512), 32),
        ("2-D in one", (600, 600), (600, 600), 0),
        ("3-D", (32, 192, 192), (16, 96, 96), 0),
        ("3-D blended", (32, 192, 192), (16, 96, 96), 8),
    ]
    rows = memory()
    result = {
        "device": describe(args.device),
        "efficiency": [efficiency(*case, args) for case in cases],
        "memory": rows,
        "memory_growth": max(r["peak_mb"] for r in rows) / rows[0]["peak_mb"],
    }
    print(table(result))
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
