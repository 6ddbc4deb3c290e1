"""The main job on the bundled sample: find the damaged sections, synthesise them, score them.

Usage: python scripts/demo.py FOLDER [--no-window]

Writes into FOLDER: mended.ome.tif, mended.ome.zarr, synthetic.ome.tif (the mask), demo.png (before, after, error),
scores.md and scores.json (against the truth, beside the floors). Opens napari with the result when there is a
display.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.cli.screen import table
from napari_emsynth.metrics.image import psnr, ssim
from napari_emsynth.trust.selfcheck import baselines

METHODS = ("emsynth", "optical-flow")
BASELINES = ("nearest", "linear", "blurred_linear")


def main() -> int:
    """Run the demo and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="made when it is not there")
    parser.add_argument("--no-window", action="store_true", help="do not open napari at the end")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    volume = es.read(samples.path())
    print(f"sample: {volume.shape[0]} sections of {volume.shape[1]} x {volume.shape[2]} px, {volume.dtype}")
    marked = detected(volume)
    results = {name: es.interpolate(volume, sections=marked, method=name) for name in METHODS}
    for notice in results["emsynth"].provenance["notices"]:
        print(f"note: {notice}")
    save(results["emsynth"], options.folder)
    scores = scored(results)
    report(scores, options.folder)
    picture(volume, results["emsynth"], options.folder / "demo.png")
    print(f"\neverything is in {options.folder}/")
    if not options.no_window and has_display():
        show(volume, results["emsynth"])
    return 0


def detected(volume: es.Volume) -> list[int]:
    """Print what detection finds beside what was planted, and return the sections found."""
    planted = {plant.section: plant.kind for plant in samples.planted()}
    found: dict[int, list[str]] = {}
    for suspect in es.detect(volume):
        found.setdefault(suspect.section, []).append(f"{suspect.kind} ({suspect.score:.2f})")
    rows = [
        (str(z), planted.get(z, "-"), ", ".join(found.get(z, ["NOT FOUND"])))
        for z in sorted(planted.keys() | found.keys())
    ]
    print("\n" + table(("section", "planted damage", "detected"), rows) + "\n")
    return sorted(found)


def save(result: es.Result, folder: Path) -> None:
    """Write the result twice, and its mask alone."""
    es.write(result, folder / "mended.ome.tif", overwrite=True)
    es.write(result, folder / "mended.ome.zarr", overwrite=True)
    es.write(result.synthetic, folder / "synthetic.ome.tif", overwrite=True)


def scored(results: dict[str, es.Result]) -> list[dict[str, Any]]:
    """Compare every synthesised section that has a truth with it, beside what needs no model."""
    truth, damaged = samples.truth(), samples.damaged()
    planted = {plant.section: plant.kind for plant in samples.planted()}
    rows = []
    for entry in results["emsynth"].provenance["sections"]:
        z = entry["section"]
        if z not in planted:
            continue
        known = [side for side in (entry["below"], entry["above"]) if side is not None]
        below, above = (damaged.section(side).astype(np.float32) for side in (known[0], known[-1]))
        images = {name: result.volume.section(z) for name, result in results.items()}
        images |= baselines(below, above, entry["t"])
        real = truth.section(z)
        scores = {name: {"psnr": psnr(real, image), "ssim": ssim(real, image)} for name, image in images.items()}
        rows.append({"section": z, "damage": planted[z], "selfcheck": entry["selfcheck"], "scores": scores})
    return rows


def report(scores: list[dict[str, Any]], folder: Path) -> None:
    """Print the scores and write them as a page and as JSON."""
    names = (*METHODS, *BASELINES)
    mean = {
        name: {m: float(np.mean([row["scores"][name][m] for row in scores])) for m in ("psnr", "ssim")}
        for name in names
    }
    cells = [(str(row["section"]), row["damage"], *(_cell(row["scores"][name]) for name in names)) for row in scores]
    cells.append(("mean", "", *(_cell(mean[name]) for name in names)))
    head = ("section", "damage", *(name.replace("_", " ") for name in names))
    print("PSNR in dB / SSIM against the acquired section\n" + table(head, cells))
    lines = ["| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *cells)]
    page = "# The demo's scores\n\nPSNR in dB / SSIM against the acquired section.\n\n" + "\n".join(lines) + "\n"
    (folder / "scores.md").write_text(page, encoding="utf-8")
    (folder / "scores.json").write_text(json.dumps({"sections": scores, "mean": mean}, indent=1), encoding="utf-8")


def _cell(score: dict[str, float]) -> str:
    return f"{score['psnr']:.2f} / {score['ssim']:.3f}"


def picture(volume: es.Volume, result: es.Result, path: Path) -> None:
    """Draw before, after, truth, error and error estimate, a row for each planted section."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    truth = samples.truth()
    plants = [plant for plant in samples.planted() if result.synthetic.section(plant.section).any()]
    titles = ("damaged", "synthesised", "acquired", "error", "stated 90 % half width")
    figure, axes = plt.subplots(len(plants), 5, figsize=(12, 2.5 * len(plants)), squeeze=False)
    for row, plant in zip(axes, plants, strict=True):
        z = plant.section
        after, real = result.volume.section(z), truth.section(z)
        error = np.abs(after.astype(np.float32) - real)
        half = result.uncertainty.section(z) if result.uncertainty is not None else np.zeros_like(error)
        for axis, image in zip(row[:3], (volume.section(z), after, real), strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        for axis, image in zip(row[3:], (error, half), strict=True):
            axis.imshow(image, cmap="magma", vmin=0, vmax=80)
        row[0].set_ylabel(f"z = {z}, {plant.kind}")
        for axis in row:
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def has_display() -> bool:
    """Return whether a window can be opened, and a person may be there to close it."""
    if os.environ.get("CI"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(volume: es.Volume, result: es.Result) -> None:
    """Open napari with the damaged stack, the mended one and the mask, at the first synthesised section."""
    import napari

    viewer = napari.Viewer(title="napari-emsynth demo")
    place = {"scale": volume.grid.voxel_nm or (1.0, 1.0, 1.0), "units": ("nm",) * 3}
    viewer.add_image(np.asarray(volume.data), name="damaged", contrast_limits=(0, 255), **place)
    mended = viewer.add_image(np.asarray(result.volume.data), name="mended", contrast_limits=(0, 255), **place)
    mended.metadata["emsynth"] = result.provenance
    viewer.add_labels(np.asarray(result.synthetic.data), name="synthetic", opacity=0.15, **place)
    viewer.dims.set_current_step(0, result.provenance["sections"][0]["section"])
    napari.run()


if __name__ == "__main__":
    sys.exit(main())
