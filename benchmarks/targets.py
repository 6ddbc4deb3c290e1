"""What we aim for beside what is reached: one run, one table, met or missed.

Every figure is measured here, on volumes that nothing was trained on, in one run on one machine. Sections that look
damaged are not scored. Interpolation is scored as it is used, its self-check's mix and interval included; *runs* are
repaired by the very call a user makes.

    python benchmarks/targets.py --data FOLDER [--only interpolate,look,upsample,superres] [--limit 6] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import operator
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import napari_emsynth as es
from napari_emsynth.methods.evaluate import evaluate
from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate as hide
from napari_emsynth.metrics import psnr
from napari_emsynth.metrics.spectrum import mid_band_ratio, reslice_distance
from napari_emsynth.volume import Array, Volume

MEDULLA = "fib25_eval"
FOREIGN = ("hemibrain_eval", "mouse_sbem_eval", "vnc_sstem_eval", "cremi_sstem_eval", "mouse_sstem_eval")
MOUSE = "mouse_atum_eval"
GAPS = (1, 2, 3, 4)
# Edge of the crop of every volume, px: a section of it is enough for a mean.
EDGE = 256
RESOLUTIONS = {"psnr": "full", "psnr_bin2": "half", "psnr_bin4": "quarter"}


@dataclass(frozen=True)
class Line:
    """One target: what was measured, what was aimed for, and whether it is met."""

    what: str
    measured: float
    sign: str
    aim: float
    unit: str = "dB"

    @property
    def met(self) -> bool:
        """True when the measured figure is on the right side."""
        return {">=": operator.ge, "<=": operator.le}[self.sign](self.measured, self.aim)

    def __str__(self) -> str:
        """A row of the table."""
        verdict = "met   " if self.met else "missed"
        return f"{verdict} {self.measured:8.2f} {self.sign} {self.aim:g} {self.unit:6s} {self.what}"


@dataclass(frozen=True)
class Bench:
    """Where the volumes are, and how many sections are hidden in each.

    Args:
        data: folder of the volumes.
        limit: hidden sections a volume and setting.
    """

    data: Path
    limit: int

    def volume(self, name: str, edge: int = EDGE) -> Volume:
        """Read a crop of one volume."""
        found = es.read(self.data / f"{name}.tif")
        return Volume.of(
            found.read(slice(None), slice(0, edge), slice(0, edge)), voxel_nm=found.grid.voxel_nm, name=name
        )

    def report(self, name: str, gap: int = 1, method: str = "emsynth") -> dict[str, Any]:
        """Hide sections of one volume."""
        return _report(self, name, gap, method)


@cache
def _report(bench: Bench, name: str, gap: int, method: str) -> dict[str, Any]:
    return hide(bench.volume(name), method=method, gap=gap, limit=bench.limit)


def gain(scores: dict[str, dict[str, float]], over: str = "linear", of: str = "emsynth") -> float:
    """Return by how many dB one row is above another."""
    return scores[of]["psnr"] - scores[over]["psnr"]


def margin(scores: dict[str, dict[str, float]], figure: str, of: str = "emsynth") -> float:
    """Return by how much a row is above the best of all others."""
    return scores[of][figure] - max(s[figure] for name, s in scores.items() if name != of)


# ------------------------------------------------------------------------------- interpolation


def interpolation(bench: Bench) -> Iterator[Line]:
    """Gains over linear interpolation, over every baseline, and over Jain 2017; calibration."""
    for gap, aim in zip(GAPS, (1.1, 1.7, 1.8, 1.8), strict=True):
        scores = bench.report(MEDULLA, gap)["scores"]
        yield Line(f"interpolate, {MEDULLA}, posed {10 * gap} nm: over linear", gain(scores), ">=", aim)
        yield Line(
            f"interpolate, {MEDULLA}, posed {10 * gap} nm: SSIM over the best baseline",
            margin(scores, "ssim"),
            ">=",
            0,
            "",
        )
        candidate = bench.report(MEDULLA, gap, "jain2017")["scores"]["jain2017"]["psnr"]
        yield Line(
            f"interpolate, {MEDULLA}, posed {10 * gap} nm: over jain2017",
            scores["emsynth"]["psnr"] - candidate,
            ">=",
            0.3,
        )
    for missing, aim in ((1, 1.0), (3, 2.3), (5, 2.7), (7, 2.6)):
        ours, linear = run_scores(bench, missing)
        yield Line(f"interpolate, {MEDULLA}, {missing} missing: middle over linear", ours - linear, ">=", aim)
    for name in (MEDULLA, *FOREIGN, MOUSE):
        report = bench.report(name)
        for figure, resolution in RESOLUTIONS.items():
            yield Line(
                f"interpolate, {name}: over the best baseline, {resolution} resolution",
                margin(report["scores"], figure),
                ">=",
                0.1,
            )
        inside = 100 * report["coverage90"]
        yield Line(f"interpolate, {name}: inside the 90 % interval, at least", inside, ">=", 85, "%")
        yield Line(f"interpolate, {name}: inside the 90 % interval, at most", inside, "<=", 95, "%")


def runs(volume: Volume, missing: int, count: int) -> list[tuple[int, list[int]]]:
    """Return middle sections, spread over a volume, each with the run around it that is missing."""
    side = missing // 2
    middles = np.unique(np.linspace(side + 2, volume.shape[0] - side - 3, count).round().astype(int))
    return [(int(k), list(range(k - side, k + side + 1))) for k in middles]


def run_scores(bench: Bench, missing: int) -> tuple[float, float]:
    """Return the PSNR of the middle of missing runs, by our default and by linear interpolation."""
    volume = bench.volume(MEDULLA)
    ours, linear = [], []
    for k, run in runs(volume, missing, bench.limit):
        truth = volume.section(k)
        for scores, method in ((ours, "emsynth"), (linear, "linear")):
            result = es.interpolate(volume, run, method=method, selfcheck=method == "emsynth")
            scores.append(psnr(result.volume.data[k], truth))
    return float(np.mean(ours)), float(np.mean(linear))


# ---------------------------------------------------------------------------------------- look


def look(bench: Bench) -> Iterator[Line]:
    """Sharpness of the natural look, and what it costs."""
    for name, missing in [*((MEDULLA, 2 * gap - 1) for gap in GAPS), *((name, 1) for name in (*FOREIGN, MOUSE))]:
        band, cost = natural(bench, name, missing)
        what = f"look natural, {name}, {missing} missing"
        yield Line(f"{what}: mid-band power, at least", band, ">=", 0.85, "")
        yield Line(f"{what}: mid-band power, at most", band, "<=", 1.15, "")
        yield Line(f"{what}: cost", cost, "<=", 1.5)


def natural(bench: Bench, name: str, missing: int) -> tuple[float, float]:
    """Return the mid-band power of the natural look over that of real sections, and its cost in dB."""
    volume = bench.volume(name)
    bands, costs = [], []
    for k, run in runs(volume, missing, bench.limit):
        truth = volume.section(k)
        plain, sharp = (
            np.asarray(es.interpolate(volume, run, look=how).volume.data[k]) for how in ("accurate", "natural")
        )
        bands.append(mid_band_ratio(sharp, truth))
        costs.append(psnr(plain, truth) - psnr(sharp, truth))
    return float(np.exp(np.mean(np.log(bands)))), float(np.mean(costs))


# ----------------------------------------------------------------------------------- the others


def upsampling(bench: Bench) -> Iterator[Line]:
    """Gains over linear interpolation (point) and over back-projected cubic (slab)."""
    volume = bench.volume(MEDULLA, 160)
    for factor, aim in ((2, 0.9), (3, 1.4), (4, 1.8)):
        scores = evaluate("upsample/emsynth", volume, gap=factor - 1, limit=bench.limit)["scores"]
        yield Line(f"upsample, {MEDULLA}, point x{factor}: over linear", gain(scores), ">=", aim)
    for factor, aim in ((4, 1.0), (8, 1.5)):
        truth, ours, natural, baseline = slab(volume, factor)
        what = f"upsample, {MEDULLA}, slab x{factor}"
        yield Line(f"{what}: over back-projected cubic", psnr(ours, truth) - psnr(baseline, truth), ">=", aim)
        real = truth[::8]
        nearer = reslice_distance(baseline, real) - reslice_distance(natural, real)
        yield Line(f"{what}: natural reslices nearer to real than back-projected cubic", nearer, ">=", 0, "decades")


def slab(volume: Volume, factor: int) -> tuple[Array, Array, Array, Array]:
    """Return the truth, our answer, the natural one, and back-projected cubic convolution, of averaged sections."""
    from upsample_cases import Case, Cubic, delivered

    from napari_emsynth.spec import Runtime

    case = Case.of(volume.read(slice(None)), MEDULLA, factor, "slab")
    ours, natural = (
        np.asarray(es.upsample(case.volume, factor=factor, sampling="slab", look=look).volume.data)
        for look in ("accurate", "natural")
    )
    return case.truth, ours, natural, delivered(Cubic())(case, Runtime()).volume


def superresolution(bench: Bench) -> Iterator[Line]:
    """Gains over back-projected bicubic enlargement; never below it."""
    for factor, aim in ((8, 1.5), (16, 0.6)):
        for name in (MEDULLA, "hemibrain_eval", "mouse_sbem_eval"):
            edge = 512 if name == MEDULLA else EDGE
            scores = evaluate("superres/single-stage", bench.volume(name, edge), factor=factor, limit=bench.limit)[
                "scores"
            ]
            above = scores["single-stage"]["psnr"] - scores["bicubic"]["psnr"]
            yield Line(
                f"superres, {name}, x{factor}: over back-projected bicubic", above, ">=", aim if name == MEDULLA else 0
            )


def alignment(bench: Bench) -> Iterator[Line]:
    """What remains of known jitter in sections along x of an isotropic block, and what is done to an aligned one."""
    from align_cases import stack_test

    found = stack_test(tifffile.imread(bench.data / f"{MEDULLA}.tif"), axis=2)
    what = f"align, {MEDULLA}, x as the section axis"
    own = f"its own wobble {found.wobble:.2f} px"
    yield Line(f"{what}: residual ({own})", found.after, "<=", 0.25, "px")
    yield Line(f"{what}: done to the aligned stack ({own})", found.harm, "<=", 0.2, "px")
    yield Line(f"{what}: folds", found.folds, "<=", 0, "%")


PARTS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "interpolate": interpolation,
    "look": look,
    "upsample": upsampling,
    "superres": superresolution,
    "align": alignment,
}


def main() -> None:
    """Measure, print as it goes, and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the eval volumes")
    parser.add_argument("--only", type=lambda s: s.split(","), default=list(PARTS), help="parts, with commas")
    parser.add_argument("--limit", type=int, default=6, help="hidden sections a volume and setting")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench, lines = Bench(options.data, options.limit), []
    for part in options.only:
        started = time.monotonic()
        for line in PARTS[part](bench):
            lines.append(line)
            print(line, flush=True)
        print(f"{part}: {time.monotonic() - started:.0f} s", flush=True)
        if options.json:
            rows = [asdict(line) | {"met": line.met} for line in lines]
            options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(line.met for line in lines)} of {len(lines)} met")


if __name__ == "__main__":
    main()
