"""Train the bundled weights of a method from the training volumes: the recipe that made every bundled file.

Usage: python scripts/train_weights.py interpolate/emsynth --data FOLDER --minutes 120

Resumes by itself after a kill (checkpoints in --runs). ``--finish`` writes weights and card into the package.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import tifffile
import torch
import typer

from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.loop import Plan, fit

# The last sections of the large block are held out: validation, calibration and the bundled sample come from them.
HELD_OUT_FROM = 252


def fib25(folder: Path) -> TrainingData:
    """Drosophila medulla FIB-SEM, 10 nm isotropic, Creative Commons Attribution (FlyEM, Janelia)."""
    large = tifffile.imread(folder / "fib25_train_large.tif")
    small = tifffile.imread(folder / "fib25_train_small.tif")
    return TrainingData(
        blocks=[large[:HELD_OUT_FROM], small],
        held_out=[large[HELD_OUT_FROM:]],
        axes=(0, 1, 2),
        name="fib25_train_large[:252], fib25_train_small",
    )


def main(
    name: Annotated[str, typer.Argument(help="TASK/ID")],
    data: Annotated[Path, typer.Option(help="folder of the training volumes")],
    minutes: float = 120.0,
    runs: Path = Path(".train"),
    device: str = "cpu",
    batch: int = 8,
    size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train one method and leave its best weights in --runs."""
    from napari_emsynth.methods.interpolate.emsynth import Recipe

    path = runs / (name.replace("/", "-") + ".ckpt.safetensors")
    log = path.with_suffix(".jsonl")
    runs.mkdir(parents=True, exist_ok=True)
    started = time.time()

    def on_step(terms: dict[str, float]) -> None:
        if "val_score" in terms or int(terms["step"]) % 50 == 0:
            line = json.dumps(
                {k: round(v, 4) for k, v in terms.items()} | {"wall": round(time.time() - started)}
            )
            print(line, flush=True)
            with log.open("a") as file:
                file.write(line + "\n")

    recipe = Recipe(fib25(data), batch=batch, size=size)
    plan = Plan(seconds=60 * minutes, lr=lr, validate_every=240.0)
    fit(recipe, plan, path, device=torch.device(device), seed=seed, resume=True, on_step=on_step)
    print("done", file=sys.stderr)


if __name__ == "__main__":
    typer.run(main)
