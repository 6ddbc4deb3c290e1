"""Draw the figure of every method's page: one section and its reslices, before and after, on an eval volume.

Usage:
    python scripts/method_figures.py --data FOLDER [TASK/ID ... labels looks]

The volume is fly medulla FIB-SEM (FlyEM, Janelia; Creative Commons Attribution), which nothing was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import tifffile
import typer
from PIL import Image

import napari_emsynth as es
from napari_emsynth.methods import all_methods, get
from napari_emsynth.methods.align.scoring.jitter import moved, shifts
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.limits import weights_for
from napari_emsynth.methods.superres.reduction import repeated
from napari_emsynth.methods.superres.scoring.hidden import hide
from napari_emsynth.methods.upsample.labels.labels import upsample_labels
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.registration import stack_residual
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Volume

HERE = Path(__file__).parents[1] / "docs" / "images" / "methods"
# The crop: sections, rows and columns, and the section shown.
CROP = (slice(60, 157), slice(40, 200), slice(30, 190))
SECTION, ROW, COLUMN = 48, 80, 80
# Sections are cut to about the height of a reslice where both are shown.
ROWS = slice(32, 128)
MISSING = 2  # sections each side of the one shown, for interpolation: a 20 nm gap
JITTER_PX = 1.5
FACTOR = 4  # of upsampling
LABELS = "labels"  # the figure of what goes along with it
LOOKS = "looks"  # the figure of both looks, and the pictures of them in the dock
PICTURES = Path(__file__).parents[1] / "src" / "napari_emsynth" / "plugin" / "pictures"
PICTURE = (slice(52, 108), slice(16, 144))  # of a crop: what the dock's buttons show, 56 x 128 px
WIDE = 240  # px, for super-resolution

Panel = tuple[str, Any]


def interpolate(spec: MethodSpec, stack: Any) -> list[list[Panel]]:
    """The hidden section by every weight, between what was given and the truth."""
    a, b = SECTION - MISSING, SECTION + MISSING
    run = list(range(a + 1, b))
    names = list(spec.weights) or [None]
    drawn = [es.interpolate(stack, run, method=spec.id, weights=w, device="cpu", selfcheck=False) for w in names]
    truth = stack[SECTION]
    answers = [(w or spec.title, np.asarray(r.volume.data)[SECTION]) for w, r in zip(names, drawn, strict=True)]
    row = [("section below, 20 nm away", stack[a])]
    row += [(f"{name}: {psnr(image, truth):.1f} dB", image) for name, image in answers]
    row += [(f"linear: {psnr(0.5 * stack[a] + 0.5 * stack[b], truth):.1f} dB", 0.5 * stack[a] + 0.5 * stack[b])]
    return [[*row, ("truth", truth)]]


def looks(stack: Any) -> list[list[Panel]]:
    """The hidden section in both looks, beside the truth; the natural one by two seeds."""
    run = list(range(SECTION - MISSING + 1, SECTION + MISSING))
    asked = (("accurate", 0), ("natural", 0), ("natural", 1))
    drawn = [(f"{look}, seed {seed}" if look == "natural" else look, look, seed) for look, seed in asked]
    row: list[Panel] = []
    truth = stack[SECTION]
    for title, look, seed in drawn:
        result = es.interpolate(stack, run, look=look, seed=seed, device="cpu")
        image = np.asarray(result.volume.data)[SECTION]
        row.append((f"{title}: {psnr(image, truth):.1f} dB", image))
    return [[*row, ("truth", truth)]]


def save_pictures(row: list[Panel]) -> None:
    """Write the pictures of the dock's question, twice as large for sharp screens."""
    PICTURES.mkdir(exist_ok=True)
    for (_, image), name in zip(row, ("accurate", "natural"), strict=False):
        small = Image.fromarray(np.asarray(image[PICTURE], np.uint8))
        small.resize((2 * small.width, 2 * small.height), Image.Resampling.BICUBIC).save(
            PICTURES / f"look-{name}.png", optimize=True
        )


def reslices(title: str, stack: Any, truth: Any | None) -> list[Panel]:
    """The xy, xz and yz planes through the middle of one stack."""
    score = "" if truth is None else f", {psnr(stack, truth):.1f} dB"
    z = round(SECTION * len(stack) / (CROP[0].stop - CROP[0].start))
    return [(f"{title}: xy{score}", stack[z, ROWS]), ("xz", stack[:, ROW]), ("yz", stack[:, :, COLUMN])]


def align(spec: MethodSpec, stack: Any) -> list[list[Panel]]:
    """A stack with known jitter, aligned by every weight, and the truth.

    Methods that draw voxels are scored by these, those that move them by what is left of the jitter: a shift of the
    whole stack is no error.
    """
    by = shifts(len(stack), JITTER_PX, 0)
    jittered, moves = moved(stack, by), spec.answers == "displacement"
    rows = [reslices(f"jitter of {JITTER_PX} px", jittered, None if moves else stack)]
    for weights in spec.weights or (None,):
        result = es.align(jittered, method=spec.id, weights=weights, device="cpu", selfcheck=False)
        title = str(weights or spec.title) + (f", {left(result, by):.2f} px left" if moves else "")
        rows.append(reslices(title, np.asarray(result.volume.data), None if moves else stack))
    return [*rows, reslices("truth", stack, None)]


def left(result: Any, by: Any) -> float:
    """Return what an alignment leaves of known shifts [z, 2], px."""
    found = np.stack([result.displacement.dense(z) for z in range(len(by))])
    return stack_residual(found, np.broadcast_to(by[:, :, None, None], found.shape))


def upsample(spec: MethodSpec, stack: Any) -> list[list[Panel]]:
    """Sections left out, made up again: three of four where the method can do that."""
    factor = spec.factors[0] if spec.factors else FACTOR
    thin = stack[::factor]
    nearest = np.repeat(thin, factor, axis=0)[factor // 2 :][: len(stack)]
    rows = [reslices(f"one section in {factor}", nearest, None)]
    for weights in spec.weights or (None,):
        result = es.upsample(thin, factor, method=spec.id, weights=weights, device="cpu", selfcheck=False)
        rows.append(reslices(str(weights or spec.title), np.asarray(result.volume.data), stack))
    return [*rows, reslices("truth", stack, None)]


def labels(ids: Any) -> list[list[Panel]]:
    """Ids of one section in FACTOR, upsampled along; every id in a colour of its own."""
    colours = np.random.default_rng(0).uniform(0.2, 1, (int(ids.max()) + 1, 3))
    thin = ids[::FACTOR]
    nearest = np.repeat(thin, FACTOR, axis=0)[FACTOR // 2 :][: len(ids)]
    drawn = upsample_labels(thin, FACTOR)
    share = {name: (found == ids).mean() for name, found in (("nearest", nearest), ("shapes", drawn))}
    return [
        reslices(f"one section in {FACTOR}, repeated: {share['nearest']:.1%}", colours[nearest], None),
        reslices(f"by shapes: {share['shapes']:.1%}", colours[drawn], None),
        reslices("truth", colours[ids], None),
    ]


def superres(spec: MethodSpec, volume: Any) -> list[list[Panel]]:
    """The middle section made coarser, by every factor, and finer again; bicubic beside, and the truth."""
    rows = []
    for factor in spec.factors:
        asked = {
            name: Request.of(
                "superres", Volume.of(volume), name, weights=weights_for(get("superres", name), None, factor),
                params=None, runtime=Runtime(device="cpu"),
            )
            for name in ("bicubic", spec.id)
        }  # fmt: skip
        hidden = hide(asked[spec.id], factor, edge=WIDE // factor, count=1, least=1)
        assert hidden is not None
        section = hidden.sections[0]
        truth = hidden.truth[section]
        row: list[Panel] = [(f"means of {factor} x {factor} px", repeated(hidden.coarse.section(section), factor))]
        for name, request in asked.items():
            image = hidden.drawn(hidden.job(request), section).values[0]
            row.append((f"{name}, x{factor}: {psnr(image, truth):.1f} dB", image))
        rows.append([*row, ("truth", truth)])
    return rows


TASKS = {"interpolate": interpolate, "align": align, "upsample": upsample, "superres": superres}


def draw(rows: list[list[Panel]], path: Path) -> None:
    """Lay panels out at one scale and save them."""
    widths = [panel.shape[1] for _, panel in rows[0]]
    heights = [max(panel.shape[0] for _, panel in row) for row in rows]
    unit = 2.6 / 160
    figure, axes = plt.subplots(
        len(rows),
        len(rows[0]),
        figsize=(unit * sum(widths), unit * sum(heights) + 0.3 * len(rows)),
        gridspec_kw={"width_ratios": widths, "height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for row, line in zip(rows, axes, strict=True):
        for (title, image), axis in zip(row, line, strict=True):
            axis.imshow(image, cmap="gray", vmin=40, vmax=220, interpolation="nearest")
            axis.set_title(title, fontsize=7)
            axis.set_axis_off()
            axis.set_anchor("N")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="TASK/ID", help="All by default.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the eval volumes.")] = Path("data"),
) -> None:
    """Draw and save."""
    volume = tifffile.imread(data / "fib25_eval.tif")
    stack = volume[CROP]
    if not names or LABELS in names:
        ids = tifffile.imread(data / "fib25_eval_segmentation.tif")[CROP]
        draw(labels(ids), HERE / f"upsample-{LABELS}.png")
        print(LABELS)
    if not names or LOOKS in names:
        rows = looks(stack)
        draw(rows, HERE / f"interpolate-{LOOKS}.png")
        save_pictures(rows[0])
        print(LOOKS)
    for spec in all_methods():
        if not names or spec.name in names:
            shown = volume if spec.task == "superres" else stack
            draw(TASKS[spec.task](spec, shown), HERE / f"{spec.name.replace('/', '-')}.png")
            print(spec.name)


if __name__ == "__main__":
    typer.run(main)
