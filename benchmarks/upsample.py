"""Every figure of upsampling along z: the methods and the floors on the same coarsened volumes, in one run.

    python benchmarks/upsample.py --data FOLDER [--rows NAMES] [--volumes NAMES] [--factors 2,4] [--samplings point]
        [--axis z] [--crop 128] [--segmentation] [--labels] [--speed] [--memory] [--threads 2] [--json FILE] [--show]

Isotropic volumes are made coarser along z (or ``--axis``), by leaving sections out (point) or averaging them (slab),
rounded to bytes, and upsampled by the same factor. PSNR: of the whole cut volume, which is that of its xz and yz planes
too; *hidden*: of the sections left out. SSIM: mean over every eleventh xz and yz plane; *hidden*: over every eleventh
section left out. Spectrum: how far the reslices' power is from real sections', decades; the truth's own distance stands
in the last row. Coverage: truth within the stated 90 % interval, where voxels were made up. Optical flow under slab
sampling is back-projected; ``jain2017`` doubles, x4 is that twice; ``reslice`` and ``along z`` are the experts of
``emsynth``, each alone.

``--segmentation``: cells told apart by their membranes (no learning, the same constants for all) in the upsampled
volume and in the true one, against what people said: variation of information and adapted Rand error. ``--labels``:
what people said, made coarser and upsampled again, see ``upsample_labels.py``. ``--speed``, ``--memory``: see
``upsample_long.py``. With ``--json`` what the file holds of earlier runs stays, and the tables show
all of it.
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
from upsample_cases import ROWS, Answer, Case, cases, missing, read, scores
from upsample_labels import labels
from upsample_long import memory, speed

from napari_emsynth.methods.upsample.lattice import Sampling
from napari_emsynth.metrics import adapted_rand, membrane_segmentation, voi
from napari_emsynth.spec import Runtime

VOLUMES = ("fib25_eval", "hemibrain_eval")
FACTORS = (2, 3, 4, 6, 8, 10)
SEGMENTED = "fib25_eval"
SEGMENTED_FACTORS = (4, 8)
SEGMENTED_ROWS = ("linear", "cubic + back-projection", "cubic", "emsynth")
QUALITY = {
    "psnr_hidden": "PSNR hidden dB", "psnr": "PSNR dB", "ssim_hidden": "SSIM hidden", "ssim": "SSIM xz, yz",
    "spectrum": "spectrum decades", "coverage90": "in 90 % interval", "seconds": "s",
}  # fmt: skip
CELLS = {
    "split": "split bits", "merge": "merge bits", "voi": "VOI bits", "rand_error": "Rand error",
    "precision": "precision", "recall": "recall", "cells": "cells",
}  # fmt: skip
IDS = {
    "right": "own id", "dice": "mean Dice", "voi": "VOI bits", "rand_error": "Rand error", "seconds": "s",
}  # fmt: skip
Figures = dict[str, dict[str, dict[str, float]]]


def measure(case: Case, row: str, runtime: Runtime) -> tuple[Answer, dict[str, float]]:
    """Ask a row and score it."""
    started = time.perf_counter()
    answer = ROWS[row].way(case, runtime)
    seconds = time.perf_counter() - started
    return answer, scores(case, answer) | {"seconds": seconds}


def segmented(volume: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> dict[str, float]:
    """Return how well cells are told apart in a volume; 0 of the truth does not count."""
    found = membrane_segmentation(volume)
    split, merge = voi(truth, found)
    error, precision, recall = adapted_rand(truth, found)
    figures = {"split": split, "merge": merge, "voi": split + merge, "rand_error": error}
    return figures | {"precision": precision, "recall": recall, "cells": float(found.max())}


def table(title: str, rows: dict[str, dict[str, float]], columns: dict[str, str]) -> None:
    """Print one Markdown table."""
    shown = [c for c in columns if any(c in row for row in rows.values())]
    print(f"\n**{title}**\n\n| | " + " | ".join(columns[c] for c in shown) + " |")
    print("|---" * (len(shown) + 1) + "|")
    order = [*(name for name in ROWS if name in rows), *(name for name in rows if name not in ROWS)]
    for name in order:
        print(f"| {name} | " + " | ".join(_cell(c, rows[name].get(c)) for c in shown) + " |", flush=True)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    digits = 0 if column == "cells" else 1 if column == "seconds" else 2 if column.startswith("psnr") else 3
    return f"{value:.{digits}f}"


def summary(figures: Figures) -> None:
    """Print PSNR and SSIM of every volume and sampling by factor, of all that was ever measured."""
    groups: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for case, rows in figures.items():
        group, factor = case.rsplit(" x", 1)
        groups.setdefault(group, {})[int(factor)] = rows
    for group, by_factor in groups.items():
        factors = sorted(by_factor)
        hidden = "_hidden" if group.endswith("point") else ""
        named = [row for row in ROWS if any(row in by_factor[f] for f in factors)]
        print(f"\n**{group}{', sections left out' if hidden else ''}: PSNR dB, SSIM**\n")
        print("| | " + " | ".join(f"x{f}" for f in factors) + " |\n|---" + "|---" * len(factors) + "|")
        for row in named:
            scored = [by_factor[f].get(row) for f in factors]
            cells = [f"{r['psnr' + hidden]:.2f}, {r['ssim' + hidden]:.3f}" if r else "" for r in scored]
            print(f"| {row} | " + " | ".join(cells) + " |", flush=True)


def chosen(names: str) -> list[str]:
    """Return the rows to ask; say which are not there.

    Raises:
        SystemExit: a name that no row has.
    """
    wanted = names.split(",") if names else list(ROWS)
    for name in wanted:
        if name not in ROWS:
            raise SystemExit(f"no row {name!r}; there are {', '.join(ROWS)}")
        if missing(name):
            print(f"{name}: not in this installation, left out")
    return [name for name in wanted if not missing(name)]


def quality(options: argparse.Namespace, runtime: Runtime, figures: Figures, keep: Callable[[], None]) -> None:
    """Score every row on every case."""
    wanted: list[tuple[int, Sampling]] = [(f, s) for s in options.samplings for f in options.factors]
    for name in options.volumes:
        for case in cases(options.data, name, options.crop, options.axis, wanted):
            rows = figures.setdefault(str(case), {})
            for row in options.rows:
                if ROWS[row].answers(case):
                    rows[row] = measure(case, row, runtime)[1]
                    print(f"  {case}, {row}: {_line(rows[row])}", flush=True)
                    keep()
            rows["truth"] = {"spectrum": scores(case, Answer(case.truth))["spectrum"]}
            table(f"{case}, {' x '.join(map(str, case.truth.shape))}", rows, QUALITY)


def _line(row: dict[str, float]) -> str:
    return ", ".join(f"{c} {v:.3f}" for c, v in row.items())


def segmentation(options: argparse.Namespace, runtime: Runtime, figures: Figures, keep: Callable[[], None]) -> None:
    """Score the cells of upsampled volumes, and of the true one."""
    cells = read(options.data, f"{SEGMENTED}_segmentation", options.crop, options.axis)
    wanted: list[tuple[int, Sampling]] = [
        (f, s) for s in options.samplings for f in SEGMENTED_FACTORS if f in options.factors
    ]
    true: dict[int, dict[str, float]] = {}
    for case in cases(options.data, SEGMENTED, options.crop, options.axis, wanted):
        rows = figures.setdefault(str(case), {})
        truth = cells[: len(case.truth)]
        doubled = {"cubic"} if case.sampling == "slab" else set()
        for row in options.rows:
            if row in SEGMENTED_ROWS and row not in doubled and ROWS[row].answers(case):
                rows[row] = segmented(ROWS[row].way(case, runtime).volume, truth)
                print(f"  {case}, {row}: {_line(rows[row])}", flush=True)
                keep()
        if "truth" not in rows:
            n = len(case.truth)
            true[n] = rows["truth"] = true.get(n) or segmented(case.truth, truth)
            keep()
        table(f"Cells: {case}", rows, CELLS)


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes")
    parser.add_argument("--rows", type=chosen, default="", help="names as in the tables, with commas")
    parser.add_argument("--volumes", type=lambda s: s.split(","), default=list(VOLUMES))
    parser.add_argument("--factors", type=lambda s: [int(f) for f in s.split(",")], default=list(FACTORS))
    parser.add_argument("--samplings", type=lambda s: s.split(","), default=["point", "slab"])
    parser.add_argument("--axis", choices=("z", "y", "x"), default="z", help="of the volume, made coarser")
    parser.add_argument("--crop", type=int, default=10**6, help="voxels an axis that are read at most")
    parser.add_argument("--segmentation", action="store_true", help="tell cells apart, instead of quality")
    parser.add_argument("--labels", action="store_true", help="upsample labels, instead of quality")
    parser.add_argument("--speed", action="store_true", help="only the seconds of 512 x 512 x 64")
    parser.add_argument("--memory", action="store_true", help="only memory through the command line")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what --json holds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print and save as it goes."""
    options = parsed()
    torch.set_num_threads(options.threads)
    runtime = Runtime(device=options.device)
    known = options.json is not None and options.json.exists()
    result: dict[str, Any] = json.loads(options.json.read_text(encoding="utf-8")) if known else {}

    def keep() -> None:
        # After every row: a run takes long, and what is measured is measured.
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    if options.speed:
        result.setdefault("speed", {}).update(speed(options.data, options.rows, runtime))
    if options.memory:
        result.setdefault("memory", {}).update(memory(options.rows, options.device))
    if options.segmentation:
        segmentation(options, runtime, result.setdefault("segmentation", {}), keep)
    if options.labels:
        ids = read(options.data, f"{SEGMENTED}_segmentation", options.crop, options.axis)
        found: Figures = result.setdefault("labels", {})
        for case, row, figures in labels(ids, options.factors, options.samplings):
            found.setdefault(case, {})[row] = figures
            print(f"  {case}, {row}: {_line(figures)}", flush=True)
            keep()
        for case, rows in found.items():
            table(f"{SEGMENTED}, {case}", rows, IDS)
    other = options.speed or options.memory or options.segmentation or options.labels or options.show
    if not other:
        quality(options, runtime, result.setdefault("quality", {}), keep)
    summary(result.get("quality", {}))
    keep()


if __name__ == "__main__":
    main()
