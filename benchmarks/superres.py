"""Every figure of lateral super-resolution: the methods and the floors on the same coarsened volumes, in one run.

    python benchmarks/superres.py --data FOLDER [--rows "NAME;NAME"] [--volumes NAMES] [--factors 8,16] [--sections 24]
        [--segmentation] [--speed] [--threads 2] [--device cpu] [--json FILE] [--show]

Sections are made coarser by means of 8 x 8 or 16 x 16 px, rounded to bytes, and super-resolved by the same factor; the
truth is cut to whole coarse pixels. A run asks the middle sections, with neighbours on both sides.

PSNR, SSIM and mid-band power (0.1 to 0.3 cycles/px over that of real sections) are means over sections. *Features*: the
distance in the features of the autoencoder that was trained to compare sections (``align/ssemnet``), which no
super-resolution network was trained with: ``sqrt(mean |f(a) - f(t)|^2 / mean |f(t) - mean f(t)|^2)``, 0 for the truth.
*Off*: how far block means of the bare answer lie off what was acquired, grey levels (RMS); the package moves every
answer to where they are right, ``bicubic, bare`` is not moved. *Coverage*: truth within the stated 90 % interval.

``--segmentation``: cells told apart by their membranes (no learning, the same constants for all) in the super-resolved
volume and in the true one, against what people said: variation of information and adapted Rand error. ``--speed``: the
seconds of one coarse section of 128 x 128 px, and those of the processor, which hold on a busy machine too. With
``--json`` what the file holds of earlier runs stays.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from napari_emsynth.methods import INDEX, get
from napari_emsynth.methods.align.ssemnet.method import SPEC as SSEMNET
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.job import Drawn, Job
from napari_emsynth.methods.superres.limits import weights_for
from napari_emsynth.methods.superres.reduction import enlarged, reduced, repeated
from napari_emsynth.metrics import adapted_rand, membrane_segmentation, voi
from napari_emsynth.metrics.image import coverage
from napari_emsynth.metrics.scores import score
from napari_emsynth.models.ssemnet import Autoencoder, Config
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float, Volume
from napari_emsynth.weights import store

VOLUMES = ("fib25_eval", "hemibrain_eval", "mouse_sbem_eval")
FACTORS = (8, 16)
SEGMENTED = "fib25_eval"
# Sections whose cells are told apart: all that there are would take an hour for a network on two cores.
SEGMENTED_SECTIONS = 64
BASELINES = ("nearest", "bicubic, bare")
# Sections on both sides that are made coarser too, for those who look at neighbours, adjacent ones or further ones.
AROUND = 10
TILE = 128
PEAK = 255.0
QUALITY = {
    "psnr": "PSNR dB", "ssim": "SSIM", "mid_band": "mid-band", "features": "features", "off": "off",
    "coverage90": "in 90 % interval", "seconds": "s a section",
}  # fmt: skip
CELLS = {"split": "split bits", "merge": "merge bits", "voi": "VOI bits", "rand_error": "Rand error"}
SPEED = {"seconds": "s", "processor": "processor s", "megapixels": "Mpx/s"}
Rows = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """One question.

    Args:
        name: of the volume.
        factor: by which it was made coarser.
        truth: [z, f y, f x] uint8.
        coarse: [z, y, x] uint8.
        asked: sections that are scored.
    """

    name: str
    factor: int
    truth: Array
    coarse: Volume
    asked: range

    @classmethod
    def of(cls, data: Path, name: str, factor: int, count: int) -> Case:
        """Make the middle of a volume coarser."""
        fine = tifffile.imread(data / f"{name}.tif")
        y, x = (n // factor * factor for n in fine.shape[1:])
        part = middle(len(fine), count + 2 * AROUND)
        truth = fine[part, :y, :x]
        coarse = np.stack([to_dtype(reduced(section, factor), fine.dtype) for section in truth])
        inner = middle(len(truth), count)
        return cls(name, factor, truth, Volume.of(coarse), range(inner.start, inner.stop))

    def __str__(self) -> str:
        return f"{self.name}, x{self.factor}"

    def job(self, method: str, runtime: Runtime) -> Job:
        """Return what draws the answer of a method of the package."""
        weights = weights_for(get("superres", method), None, self.factor)
        asked = Request.of("superres", self.coarse, method, weights=weights, params=None, runtime=runtime)
        return Job.of(asked, self.factor)


def drawn(case: Case, row: str, section: int, runtime: Runtime, job: Job | None) -> Drawn:
    """Return a row's answer to a section, as the package would give it."""
    if job is not None:
        y, x = (slice(0, n) for n in case.coarse.shape[1:])
        return job.drawn((slice(section, section + 1), y, x), runtime)
    coarse = case.coarse.section(section)
    bare = repeated(coarse, case.factor) if row == "nearest" else enlarged(coarse, case.factor)
    values = to_dtype(np.asarray(bare, np.float32), case.truth.dtype)
    off = reduced(values, case.factor) - coarse.astype(np.float32)
    nothing = np.zeros(values.shape, np.float32)
    return Drawn(values[None], nothing[None], nothing[None], off[None])


def measure(case: Case, row: str, runtime: Runtime) -> dict[str, float]:
    """Score a row on every section that is asked."""
    job = case.job(row, runtime) if row in INDEX["superres"] else None
    tells = job is not None and job.request.spec.has_uncertainty
    found: list[dict[str, float]] = []
    for section in case.asked:
        started = time.perf_counter()
        answer = drawn(case, row, section, runtime, job)
        seconds = time.perf_counter() - started
        truth, values = (a.astype(np.float32) for a in (case.truth[section], answer.values[0]))
        figures = score(values, truth, PEAK)
        figures |= {"features": feature_distance(values, truth), "seconds": seconds}
        figures["off"] = float(np.sqrt(np.square(answer.residual).mean()))
        if tells:
            figures["coverage90"] = coverage(truth, values, answer.half[0])
        found.append(figures)
    return {name: float(np.mean([f[name] for f in found])) for name in found[0] if name in QUALITY}


@lru_cache
def autoencoder() -> Autoencoder:
    """Return the network whose features are compared."""
    network, _ = store.restored(SSEMNET.name, SSEMNET.weights[0], lambda config: Autoencoder(Config.from_json(config)))
    return network.eval()


def feature_distance(answer: Float, truth: Float) -> float:
    """Return how far two sections [y, x] are from each other in features, relative to how much those vary."""
    network = autoencoder()
    step = network.config.multiple
    y, x = (n // step * step for n in truth.shape)
    mean, std = float(truth.mean()), float(truth.std())
    pair = (np.stack([answer, truth])[:, None, :y, :x] - mean) / std
    with torch.inference_mode():
        a, t = network.encoder(torch.from_numpy(pair.astype(np.float32)))
    spread = (t - t.mean(dim=(1, 2), keepdim=True)).square().mean()
    return float(((a - t).square().mean() / spread).sqrt())


def segmented(volume: Array, truth: Array) -> dict[str, float]:
    """Return how well cells are told apart in a volume; 0 of the truth does not count."""
    found = membrane_segmentation(volume)
    split, merge = voi(truth, found)
    return {"split": split, "merge": merge, "voi": split + merge, "rand_error": adapted_rand(truth, found)[0]}


def cells_of(case: Case, row: str, runtime: Runtime, cells: Array) -> dict[str, float]:
    """Tell cells apart in what a row makes of a case."""
    if row == "truth":
        return segmented(case.truth[case.asked.start : case.asked.stop], cells)
    job = case.job(row, runtime) if row in INDEX["superres"] else None
    made = np.concatenate([drawn(case, row, z, runtime, job).values for z in case.asked])
    return segmented(made, cells)


def speed(data: Path, row: str, factor: int, runtime: Runtime) -> dict[str, float]:
    """Return the seconds of one coarse section of 128 x 128 px, everything loaded."""
    fine = tifffile.imread(data / "fib25_train_large.tif", key=range(2 * AROUND + 1))
    coarse = np.stack([to_dtype(reduced(s, 4)[:TILE, :TILE], fine.dtype) for s in fine])
    case = Case("speed", factor, coarse, Volume.of(coarse), range(AROUND, AROUND + 1))
    job = case.job(row, runtime)
    job.drawn((slice(AROUND, AROUND + 1), slice(0, 16), slice(0, 16)), runtime)
    started, worked = time.perf_counter(), time.process_time()
    job.drawn((slice(AROUND, AROUND + 1), slice(0, TILE), slice(0, TILE)), runtime)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    return {"seconds": seconds, "processor": processor, "megapixels": (factor * TILE) ** 2 / seconds / 1e6}


def table(title: str, rows: Rows, columns: dict[str, str]) -> None:
    """Print one Markdown table."""
    shown = [c for c in columns if any(c in row for row in rows.values())]
    print(f"\n**{title}**\n\n| | " + " | ".join(columns[c] for c in shown) + " |\n|---" + "|---" * len(shown) + "|")
    for name, row in rows.items():
        cells = [f"{row[c]:.2f}" if c in ("psnr", "seconds") else f"{row[c]:.3f}" if c in row else "" for c in shown]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def chosen(names: str) -> list[str]:
    """Return the rows to ask.

    Raises:
        SystemExit: a name that no row has.
    """
    known = [*BASELINES, *reversed(INDEX["superres"])]
    wanted = names.split(";") if names else known
    for name in wanted:
        if name not in known:
            raise SystemExit(f"no row {name!r}; there are {', '.join(known)}")
    return wanted


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes")
    parser.add_argument("--rows", type=chosen, default="", help="names as in the tables, with semicolons")
    parser.add_argument("--volumes", type=lambda s: s.split(","), default=list(VOLUMES))
    parser.add_argument("--factors", type=lambda s: [int(f) for f in s.split(",")], default=list(FACTORS))
    parser.add_argument("--sections", type=int, default=24, help="of each volume, from its middle")
    parser.add_argument("--segmentation", action="store_true", help="tell cells apart, instead of quality")
    parser.add_argument("--speed", action="store_true", help="only the seconds of 128 x 128 coarse px")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what --json holds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> list[Case]:
    """Return what is asked."""
    if options.segmentation:
        return [Case.of(options.data, SEGMENTED, f, SEGMENTED_SECTIONS) for f in options.factors]
    return [Case.of(options.data, name, f, options.sections) for name in options.volumes for f in options.factors]


def main() -> None:
    """Measure, print and save as it goes."""
    options = parsed()
    torch.set_num_threads(options.threads)
    runtime = Runtime(device=options.device)
    known = options.json is not None and options.json.exists()
    result: dict[str, dict[str, Rows]] = json.loads(options.json.read_text()) if known else {}
    kind = "speed" if options.speed else "segmentation" if options.segmentation else "quality"

    def keep(case: str, row: str, figures: dict[str, float]) -> None:
        result.setdefault(kind, {}).setdefault(case, {})[row] = figures
        print(f"  {case}, {row}: " + ", ".join(f"{c} {v:.3f}" for c, v in figures.items()), flush=True)
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")

    if options.speed:
        for factor in options.factors:
            for row in (r for r in options.rows if r in INDEX["superres"]):
                keep(f"x{factor}, {options.threads} threads", row, speed(options.data, row, factor, runtime))
    elif not options.show:
        for case in cases(options):
            for row in [*options.rows, *(["truth"] if options.segmentation else [])]:
                keep(str(case), row, _asked(options, case, row, runtime))
    columns: dict[str, dict[str, str]] = {"quality": QUALITY, "segmentation": CELLS, "speed": SPEED}
    for what, by_case in result.items():
        for case_name, rows in by_case.items():
            table(f"{what}: {case_name}", rows, columns[what])


def _asked(options: argparse.Namespace, case: Case, row: str, runtime: Runtime) -> dict[str, float]:
    """Return the figures of one row on one case."""
    if not options.segmentation:
        return measure(case, row, runtime)
    cells: Any = tifffile.imread(options.data / f"{SEGMENTED}_segmentation.tif")
    _, y, x = case.truth.shape
    part = middle(len(cells), len(case.truth))
    return cells_of(case, row, runtime, cells[part, :y, :x][case.asked.start : case.asked.stop])


if __name__ == "__main__":
    main()
