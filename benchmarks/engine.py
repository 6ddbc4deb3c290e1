"""The tiling engine: how much of a bare network's speed is left.

Efficiency is voxels/s of the whole pipeline (read, pad, copy, compute, write) over voxels/s of the bare
network fed with the same tiles that already lie in memory; the two take turns and the median of the rounds' ratios
counts, so that other work on the machine disturbs both alike.

    python benchmarks/engine.py [--rounds 5] [--threads N] [--device cpu] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_emsynth.spec import Runtime
from napari_emsynth.tiling import describe, plan, resolve, resolve_precision, run


def network(axes: int, width: int) -> nn.Module:
    """Return four plain convolutions; a small network, so that the engine's own work shows."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    torch.manual_seed(0)
    layers: list[nn.Module] = [conv(2, width, 3, padding=1), nn.ReLU()]
    for _ in range(2):
        layers += [conv(width, width, 3, padding=1), nn.ReLU()]
    layout = {2: torch.channels_last, 3: torch.channels_last_3d}[axes]
    return nn.Sequential(*layers, conv(width, 1, 3, padding=1)).eval().to(memory_format=layout)


def efficiency(name: str, shape: tuple[int, ...], tile: tuple[int, ...], args: Any) -> dict[str, Any]:
    """Return speeds of the pipeline and of the bare network on the same tiles."""
    axes, halo, device = len(shape), 4, resolve(args.device)
    net = network(axes, 32 if axes == 2 else 16).to(device)
    source = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    tiles = plan(shape, tile, (halo,) * axes)
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    ready = torch.randn(1, 2, *tiles[0].size, device=device).contiguous(memory_format=layout)
    dtype = resolve_precision("auto", device)

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            for _ in tiles:
                net(ready)

    def whole() -> None:
        runtime = Runtime(device=args.device)
        run(net, source, halo=halo, runtime=runtime, tile=tile, batch=1)

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


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    lines = [f"device {result['device']}", "", "case             tiles   bare Mvox/s   pipeline Mvox/s   efficiency"]
    for row in result["efficiency"]:
        bare, whole = row["bare_voxels_per_second"] / 1e6, row["pipeline_voxels_per_second"] / 1e6
        lines.append(f"{row['case']:<16} {row['tiles']:>5} {bare:>13.3f} {whole:>17.3f} {row['efficiency']:>12.3f}")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, then one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    cases = [
        ("2-D", (1024, 1024), (512, 512)),
        ("2-D in one", (600, 600), (600, 600)),
        ("3-D", (32, 192, 192), (16, 96, 96)),
    ]
    result = {"device": describe(args.device), "efficiency": [efficiency(*case, args) for case in cases]}
    print(table(result))
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
