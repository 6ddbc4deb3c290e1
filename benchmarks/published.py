"""Upsampling along z as it is published: any isotropic volume, sections averaged, scored in three dimensions.

The protocol of IsoVEM and VEMamba: k sections are averaged and rounded to bytes, upsampled by k, and compared with the
volume: PSNR of all voxels and SSIM in windows of 7 x 7 x 7, both on 8 bits. The first 70 % of the sections are for
learning, the rest is scored. *Trilinear* and *cubic* interpolation stand beside; published figures are gains over them,
on crops of their authors' choice.

Usage:
    python benchmarks/published.py VOLUME --factor 4|8|10 [--fine-tune MINUTES] [--json FILE]
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from scipy.ndimage import zoom
from skimage.metrics import structural_similarity

import napari_emsynth as es
from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.acquisition import degraded
from napari_emsynth.metrics import psnr
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.volume import Array, Volume

# Share of the sections that is learned from, and edge of the windows of SSIM.
LEARNED, WINDOW = 0.7, 7
METHOD = "upsample/emsynth"

Way = Callable[[Volume, int], Array]


def trilinear(thick: Volume, factor: int) -> Array:
    """Interpolate linearly along z, faces kept where they are."""
    data = torch.from_numpy(thick.read(slice(None)).astype(np.float32))[None, None]
    size = (factor * thick.shape[0], *thick.shape[1:])
    drawn = F.interpolate(data, size=size, mode="trilinear", align_corners=False)
    return to_dtype(drawn[0, 0].numpy(), thick.dtype)


def cubic(thick: Volume, factor: int) -> Array:
    """Interpolate by a cubic spline along z, faces kept where they are."""
    data = thick.read(slice(None)).astype(np.float32)
    return to_dtype(zoom(data, (factor, 1, 1), order=3, mode="nearest", grid_mode=True), thick.dtype)


def ours(weights: str | None) -> Way:
    """Return our default method, with weights by name or file."""

    def way(thick: Volume, factor: int) -> Array:
        result = es.upsample(thick, factor=factor, sampling="slab", weights=weights, damaged=[])
        return np.asarray(result.volume.data)

    return way


def scored(answer: Array, truth: Array) -> dict[str, float]:
    """Return PSNR in dB and SSIM, both of the whole block."""
    ssim = structural_similarity(answer, truth, data_range=255, win_size=WINDOW)
    return {"psnr": round(float(psnr(answer, truth)), 3), "ssim": round(float(ssim), 4)}


def fine_tuned(learned: Volume, minutes: float, folder: Path) -> str:
    """Fine-tune our default on the sections for learning; returns the weights file."""
    out = folder / "own.safetensors"
    es.train(METHOD, learned, out, minutes=minutes)
    return str(out)


def split(volume: Volume, factor: int) -> tuple[Volume, Array]:
    """Return what is learned from, and the truth, cut to whole thick sections."""
    first = round(LEARNED * volume.shape[0])
    count = (volume.shape[0] - first) // factor
    if count < 2:
        raise InputError(
            f"{volume.shape[0] - first} sections to score are fewer than 2 thick ones of {factor} sections"
        )
    edge = volume.grid.voxel_nm or (10.0, 10.0, 10.0)
    learned = Volume.of(volume.read(slice(0, first)), voxel_nm=edge)
    return learned, volume.read(slice(first, first + count * factor))


def main(
    volume: Annotated[Path, typer.Argument(help="an isotropic volume, 8 bits")],
    factor: Annotated[int, typer.Option(help="sections that are averaged")] = 4,
    fine_tune: Annotated[float, typer.Option(help="minutes on the first 70 %; 0 for none")] = 0.0,
    crop: Annotated[int, typer.Option(help="voxels along y and x, at most")] = 256,
    json_file: Annotated[Path | None, typer.Option("--json", help="also written here")] = None,
) -> None:
    """Score upsampling by the published protocol."""
    whole = es.read(volume)
    if whole.dtype != np.uint8:
        raise typer.BadParameter(f"{volume} holds {whole.dtype}; the protocol is of 8 bits")
    learned, truth = split(whole, factor)
    truth = truth[:, :crop, :crop]
    z, y, x = learned.grid.voxel_nm or (10.0, 10.0, 10.0)
    thick = Volume.of(
        to_dtype(degraded(truth.astype(np.float32), factor, "slab"), truth.dtype), voxel_nm=(z * factor, y, x)
    )
    ways: dict[str, Way] = {"trilinear": trilinear, "cubic": cubic, "emsynth": ours(None)}
    with TemporaryDirectory() as folder:
        if fine_tune:
            ways[f"emsynth, fine-tuned {fine_tune:g} min"] = ours(fine_tuned(learned, fine_tune, Path(folder)))
        rows: dict[str, dict[str, Any]] = {}
        for name, way in ways.items():
            started = time.monotonic()
            rows[name] = scored(way(thick, factor), truth) | {"seconds": round(time.monotonic() - started, 1)}
            gain = rows[name]["psnr"] - rows["trilinear"]["psnr"]
            print(f"{name:32} {rows[name]['psnr']:6.2f} dB ({gain:+.2f})  SSIM {rows[name]['ssim']:.4f}", flush=True)
    if json_file:
        report = {"volume": volume.name, "factor": factor, "shape": list(truth.shape), "rows": rows}
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
