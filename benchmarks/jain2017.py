"""Jain 2017 and the weights that share its algorithm, beside the floors, in one run.

Interpolation: PSNR, SSIM and mid-band power by gap. Alignment: known jitter. Super-resolution: every second section
left out, and how near the reslices' spectrum comes to the sections'. What training cost stands in the cards. With
``--fine-tune`` the first half of the mouse SBEM volume teaches, and the second half judges.

    python benchmarks/jain2017.py --data FOLDER [--limit 6] [--threads 2] [--fine-tune 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

import napari_emsynth as es
from napari_emsynth.methods import all_methods
from napari_emsynth.methods.align.scoring.evaluate import evaluate as evaluate_align
from napari_emsynth.methods.interpolate.scoring.evaluate import evaluate as evaluate_interpolate
from napari_emsynth.metrics.spectrum import reslice_distance
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume
from napari_emsynth.weights.store import read_card

# Volume, crop along y and x in px (networks in three dimensions take their time).
ISOTROPIC = ("fib25_eval", 160)
INTERPOLATE = [("interpolate/jain2017", w) for w in ("pixel", "adversarial")] + [
    ("interpolate/emsynth", w) for w in ("accurate", "natural")
]
GAPS = (1, 2, 3, 4)
JITTERS_PX = (1, 2)


def table(title: str, rows: dict[str, dict[str, float]], columns: tuple[str, ...]) -> None:
    """Print one block."""
    print(f"{title:44s}" + "".join(f"{c:>15s}" for c in columns))
    for name, values in rows.items():
        print(f"  {name:42s}" + "".join(f"{values.get(c, np.nan):15.3f}" for c in columns), flush=True)


def interpolation(data: Path, limit: int, runtime: Runtime) -> dict[str, Any]:
    """Scores by gap, of every weight and floor."""
    volume = Volume.of(tifffile.imread(data / "fib25_eval.tif"))
    out: dict[str, Any] = {}
    for gap in GAPS:
        rows: dict[str, dict[str, float]] = {}
        for name, weights in INTERPOLATE:
            id_ = name.split("/")[1]
            report = evaluate_interpolate(volume, method=id_, weights=weights, gap=gap, limit=limit, runtime=runtime)
            scores = dict(report["scores"])
            rows[f"{name} {weights}"] = scores.pop(id_)
            rows |= {baseline: values for baseline, values in scores.items() if baseline not in rows}
        table(f"fib25_eval, gap {10 * gap} nm", rows, ("psnr", "ssim", "mid_band"))
        out[f"gap {gap}"] = rows
    return out


def crop(data: Path) -> np.ndarray[Any, Any]:
    """The isotropic volume, cut in plane."""
    name, edge = ISOTROPIC
    return tifffile.imread(data / f"{name}.tif")[:, :edge, :edge]


def alignment(data: Path, limit: int, runtime: Runtime) -> dict[str, Any]:
    """Scores against the unjittered stack, and the correlation of neighbours."""
    volume, out = Volume.of(crop(data)), {}
    for sigma in JITTERS_PX:
        rows: dict[str, dict[str, float]] = {}
        for weights in ("mixed", "adversarial"):
            report = evaluate_align(
                volume, method="jain2017", weights=weights, gap=sigma, limit=8 * limit, runtime=runtime
            )
            for name, scores in report["scores"].items():
                label = f"align/jain2017 {weights}" if name == "jain2017" else name
                rows[label] = scores | {"cpc": report["cpc"][name]}
            rows["truth"] = {"cpc": report["cpc"]["truth"]}
        table(f"{ISOTROPIC[0]}, jitter {sigma} px", rows, ("psnr", "ssim", "mid_band", "cpc"))
        out[f"jitter {sigma} px"] = rows
    return out


def superresolution(data: Path, runtime: Runtime) -> dict[str, Any]:
    """PSNR on the sections left out, and the spectrum of reslices beside that of sections."""
    truth = crop(data)[:65]
    rows: dict[str, dict[str, float]] = {}
    for method in ("jain2017", "linear"):
        result = es.upsample(truth[::2], 2, method=method, selfcheck=False, runtime=runtime)
        full = np.asarray(result.volume.data)
        rows[f"upsample/{method}"] = _reslice_scores(full, truth)
    rows["truth"] = _reslice_scores(truth, truth)
    table(f"{ISOTROPIC[0]}, every second section left out", rows, ("psnr", "psnr_all", "spectrum"))
    return rows


def _reslice_scores(full: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> dict[str, float]:
    error = (full.astype(float) - truth.astype(float)) ** 2

    def psnr(values: Any) -> float:
        return float(10 * np.log10(255**2 / max(float(values.mean()), 1e-9)))

    return {"psnr": psnr(error[1::2]), "psnr_all": psnr(error), "spectrum": reslice_distance(full, truth[::4])}


def fine_tuning(data: Path, minutes: float, limit: int, runtime: Runtime) -> dict[str, Any]:
    """Teach interpolate/emsynth on one half of a stack, and judge it on the other."""
    stack = tifffile.imread(data / "mouse_sbem_eval.tif")
    half = len(stack) // 2
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.safetensors"
        learned = es.train("interpolate/emsynth", stack[:half], own, minutes=minutes, runtime=runtime)
        for label, weights in (("bundled", "accurate"), ("fine-tuned", str(own))):
            report = evaluate_interpolate(Volume.of(stack[half:]), weights=weights, limit=4 * limit, runtime=runtime)
            scores = dict(report["scores"])
            rows[f"interpolate/emsynth {label}"] = scores.pop("emsynth")
            rows |= {name: values for name, values in scores.items() if name not in rows}
    table(f"mouse_sbem_eval[{half}:], {learned['steps']} steps on [:{half}]", rows, ("psnr", "ssim", "mid_band"))
    return rows


def training_cost() -> dict[str, Any]:
    """What the cards say."""
    rows = {}
    for spec in all_methods():
        for weights in spec.weights:
            card = read_card(spec.name, weights)
            rows[f"{spec.name} {weights}"] = {"steps": card.steps, "seconds": card.seconds}
            print(f"  {spec.name} {weights}: {card.steps} steps, {card.seconds:.0f} s on {card.device}")
    return rows


def main() -> None:
    """Measure, print and optionally save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the eval volumes")
    parser.add_argument("--limit", type=int, default=6, help="hidden sections a volume and gap")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fine-tune", type=float, metavar="MINUTES", help="also teach the SBEM volume's first half")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    runtime = Runtime(device=options.device)
    result = {
        "interpolation": interpolation(options.data, options.limit, runtime),
        "alignment": alignment(options.data, options.limit, runtime),
        "superresolution": superresolution(options.data, runtime),
        "training": training_cost(),
    }
    if options.fine_tune:
        result["fine_tuning"] = fine_tuning(options.data, options.fine_tune, options.limit, runtime)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
