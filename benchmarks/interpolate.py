"""Every figure of interpolation on one machine in one run: quality beside the floors, calibration, speed, engine.

Quality is leave-one-out (hidden sections spread over each volume, the same for all methods); speed is one
1024 x 1024 section, the methods taking turns; engine efficiency comes from ``engine.py``, the import time
from ``import_time.py``.

    python benchmarks/interpolate.py --data FOLDER [--limit 12] [--threads 2] [--json FILE] [--quality-only]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

import napari_emsynth as es
from napari_emsynth.methods import all_methods
from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume

HERE = Path(__file__).parent
# (file, distances to each neighbour in sections); all of them volumes that nothing was trained on.
VOLUMES = [
    ("fib25_eval", (1, 2, 3, 4)),
    ("hemibrain_eval", (1, 2)),
    ("mouse_sbem_eval", (1, 2)),
    ("vnc_sstem_eval", (1,)),
    ("cremi_sstem_eval", (1, 2)),
    ("mouse_sstem_eval", (1,)),
]
SPEED_EDGE = 1024
COLUMNS = ("psnr", "ssim", "mid_band", "psnr_bin2", "psnr_bin4")


def quality(data: Path, limit: int, device: str) -> list[dict[str, Any]]:
    """Leave-one-out reports of the default method on every volume and gap."""
    reports = []
    for name, gaps in VOLUMES:
        volume = Volume.of(tifffile.imread(data / f"{name}.tif"), name=name)
        for gap in gaps:
            report = evaluate(volume, gap=gap, limit=limit, runtime=Runtime(device=device))
            reports.append({"volume": name, "shape": list(volume.shape), **report})
            print(rows(reports[-1]), flush=True)
    return reports


def rows(report: dict[str, Any]) -> str:
    """One block of the table."""
    head = f"{report['volume']} gap {report['gap']} ({len(report['sections'])} sections)"
    lines = [f"{head:34s}" + "".join(f"{c:>11s}" for c in COLUMNS)]
    for method, scores in report["scores"].items():
        lines.append(f"  {method:32s}" + "".join(f"{scores[c]:11.3f}" for c in COLUMNS))
    coverage = report["coverage90"]
    lines.append(f"  inside the 90 % interval: {100 * coverage:.1f} %" if coverage is not None else "")
    return "\n".join(lines)


def speed(data: Path, device: str, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Seconds to interpolate one section of 1024 x 1024, first (with loading) and best of the later ones."""
    volume = tifffile.imread(data / "vnc_sstem_eval.tif")[:, :SPEED_EDGE, :SPEED_EDGE]
    figures: dict[str, dict[str, float]] = {}
    for turn in range(rounds):
        for spec in all_methods("interpolate"):
            started = time.perf_counter()
            es.interpolate(volume, [9], method=spec.id, device=device, selfcheck=False)
            seconds = time.perf_counter() - started
            row = figures.setdefault(spec.id, {"first_s": seconds, "later_s": np.inf})
            if turn:
                row["later_s"] = min(row["later_s"], seconds)
    started = time.perf_counter()
    es.interpolate(volume, [9], device=device)
    figures["emsynth with self-check"] = {"later_s": time.perf_counter() - started}
    for name, row in figures.items():
        print(f"{name:26s}" + "".join(f"  {k} {v:.2f}" for k, v in row.items()), flush=True)
    return figures


def script(name: str, *arguments: str) -> str:
    """Run another benchmark in a process of its own and return what it prints."""
    done = subprocess.run([sys.executable, str(HERE / name), *arguments], check=True, capture_output=True, text=True)
    print(done.stdout, flush=True)
    return done.stdout


def main() -> None:
    """Measure, print and optionally save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the eval volumes")
    parser.add_argument("--limit", type=int, default=12, help="hidden sections a volume and gap")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quality-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"quality": quality(options.data, options.limit, options.device)}
    if not options.quality_only:
        result["speed"] = speed(options.data, options.device)
        result["engine"] = script("engine.py", "--threads", str(options.threads))
        result["import_time"] = script("import_time.py")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
