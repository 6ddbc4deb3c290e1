"""The cases of ``golden`` of Python and of the command line: what is asked, of what, and what is kept of the answer.

Law: only the public API, the bundled sample and the console command are used, all by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.io import read_provenance

Case = Callable[[], Any]

FOLDER = "EMSYNTH_GOLDEN_FOLDER"
"""The environment's name of the folder that everything is written into."""
TIMES = re.compile(r"\d+\.\d s\b")
CORNER = slice(0, 256)
"""Rows and columns of a volume that are looked at: what is lazy and large is drawn only there."""

# Of every method and its weights: the options of a call by name; ``of`` names the input.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "interpolate": {
        "replace": {"sections": [5]},
        "unchecked": {"sections": [5], "selfcheck": False},
        "run": {"sections": [4, 5, 6]},
        "ends": {"sections": [0, 11], "selfcheck": False},
        "insert": {"sections": [3, 7], "insert": True},
        "mask": {"mask": "hole"},
        "mask of sections": {"sections": [5], "mask": "hole", "selfcheck": False},
        "natural": {"sections": [5], "look": "natural", "seed": 3},
        "thick": {"sections": [5], "of": "thick"},
        "deep": {"sections": [5], "of": "deep", "selfcheck": False},
        "lazy": {"sections": [5, 6], "of": "lazy"},
        "tiled": {"sections": [5], "tile": 32, "selfcheck": False},
        "bf16": {"sections": [5], "precision": "bf16", "selfcheck": False},
    },
    "align": {
        "checked": {"of": "shaken"},
        "reference": {"of": "shaken", "reference": [5], "selfcheck": False},
        "skip": {"of": "shaken", "skip": [6], "selfcheck": False},
        "blank": {"of": "blank", "selfcheck": False},
        "limit": {"of": "shaken", "max_displacement_nm": 15.0, "selfcheck": False},
        "materials": {"of": "shaken", "materials": "hole", "skip": [], "selfcheck": False},
        "thick": {"of": "thick", "selfcheck": False},
        "lazy": {"of": "lazy", "selfcheck": False},
    },
    "upsample": {
        "point": {"factor": 2},
        "slab": {"factor": 2, "sampling": "slab"},
        "three": {"factor": 3, "selfcheck": False},
        "fraction": {"factor": 2.5, "selfcheck": False},
        "isotropic": {"factor": "isotropic", "of": "thick"},
        "natural": {"factor": 2, "look": "natural", "selfcheck": False},
        "damaged": {"factor": 2, "damaged": "4", "selfcheck": False},
        "blank": {"factor": 2, "of": "blank", "selfcheck": False},
        "lazy": {"factor": 2, "of": "lazy", "selfcheck": False},
    },
    "superres": {
        "x8": {"of": "scan", "factor": 8},
        "x16": {"of": "scan", "factor": 16, "selfcheck": False},
        "damaged": {"of": "scan", "factor": 8, "damaged": [2], "selfcheck": False},
        "lazy": {"of": "lazy scan", "factor": 8, "selfcheck": False},
    },
}  # fmt: skip
SCORED: dict[str, dict[str, Any]] = {
    "interpolate/emsynth": {"gap": 2, "limit": 3},
    "interpolate/fitted": {"limit": 3},
    "align/optical-flow": {"limit": 2},
    "upsample/emsynth": {},
    "upsample/kriging": {"sampling": "slab"},
    "superres/bicubic": {"limit": 2},
    "superres/single-stage": {"limit": 1},
    "superres/gpemsr": {"limit": 1, "factor": 8},
}
# The words of a command; files it writes lie in its own folder.
COMMANDS = {
    "interpolate": "interpolate stack.ome.tif out.ome.tif --sections 5 --json",
    "interpolate insert": "interpolate stack.ome.tif out.ome.zarr --sections 3 --insert --method linear --json",
    "interpolate mask": "interpolate stack.ome.tif out.tif --mask hole.tif --look natural --method jain2017 --json",
    "align": "align stack.ome.tif out.ome.tif --method optical-flow --displacement field.npy "
    "--apply-to labels.tif=moved.tif --json",
    "align zarr": "align stack.ome.tif out.ome.zarr --displacement field.zarr --reference 5 --max-displacement-nm 20",
    "upsample": "upsample stack.ome.tif out.ome.tif --factor 2 --look natural --apply-to labels.tif=fine.tif --json",
    "upsample zarr": "upsample stack.ome.tif out.ome.zarr --factor isotropic --voxel-size 25,10,10 --sampling slab "
    "--method kriging --damaged 4 --json",
    "superres": "superres scan.ome.tif out.ome.tif --factor 8 --residual off.tif --json",
    "superres zarr": "superres scan.ome.tif out.ome.zarr --factor 16 --method gpemsr --prior prior.tif --json",
    "detect": "detect stack.ome.tif --json",
    "evaluate": "evaluate interpolate/linear stack.ome.tif --json",
    "train": "train align/ssemnet tall.ome.tif --out own.safetensors --steps 2 --save-anyway --json",
    "methods": "methods --json",
    "methods, to read": "methods",
    "no such section": "interpolate stack.ome.tif out.tif --sections 99",
    "no such method": "align stack.ome.tif out.tif --method nothing",
    "no such factor": "superres scan.ome.tif out.tif --factor 9 --json",
}


def cases() -> Iterator[tuple[str, Case]]:
    """Yield the cases by name."""
    for task, options in OPTIONS.items():
        for spec in es.methods(task):
            for weights in spec.weights or (None,):
                for name, asked in options.items():
                    label = "/".join(part for part in (spec.id, weights, name) if part)
                    yield f"python/{task}/{label}", partial(called, task, spec.id, weights, asked)
    for name, asked in SCORED.items():
        yield f"python/evaluate/{name}", partial(scored, name, asked)
    for spec in es.methods():
        if spec.recipes:
            yield f"python/train/{spec.name}", partial(trained, spec.name)
    wide = {"of": "lazy wide", "factor": 8}
    yield "python/superres/bicubic/checked", partial(called, "superres", "bicubic", None, wide)
    yield "python/detect", lambda: [suspect.to_json() for suspect in es.detect(samples.damaged())]
    yield "python/fields", fields
    for name, words in COMMANDS.items():
        yield f"command/{name}", partial(commanded, words.split())


def stack() -> Any:
    """Return acquired sections [12, 48, 56] uint8."""
    return samples.truth().read(slice(24, 36), slice(64, 112), slice(64, 120))


def given(name: str) -> es.Volume:
    """Return an input, in memory of its own: what was measured of another one says nothing of it."""
    import dask.array as da

    data = np.array(stack()[:5, :20, :18] if "scan" in name else stack())
    if name == "lazy wide":
        data = samples.truth().read(slice(24, 28), slice(0, 160), slice(0, 160))
    elif name == "shaken":
        shifts = np.random.default_rng(1).integers(-2, 3, (len(data), 2))
        data = np.stack([np.roll(z, by, (0, 1)) for z, by in zip(data, shifts.tolist(), strict=True)])
    elif name == "tall":
        data = np.concatenate([data, data[-2::-1], data[1:]])
    elif name == "blank":
        data[6] = 0
    elif name == "deep":
        data = data.astype(np.uint16) * 201
    lazy = da.from_array(data, chunks=(1, 32, 32)) if name.startswith("lazy") else data
    return es.Volume.of(lazy, voxel_nm=(25, 10, 10) if name == "thick" else (10, 10, 10), name=name)


def labels() -> Any:
    """Return labels [12, 48, 56] uint16: blocks that change along z."""
    z, y, x = np.ogrid[:12, :48, :56]
    return (1 + (y + z) // 16 + 4 * ((x - z) // 16 + 1)).astype(np.uint16)


def hole() -> Any:
    """Return a mask [12, 48, 56] uint8 of part of two sections."""
    mask = np.zeros((12, 48, 56), np.uint8)
    mask[5:7, 10:30, 12:40] = 1
    return mask


def called(task: str, method: str, weights: str | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one call of a task answers, and what follows it."""
    options = {name: hole() if value == "hole" else value for name, value in asked.items() if name != "of"}
    call = getattr(es, "superresolve" if task == "superres" else task)
    result = call(given(asked.get("of", "intact")), method=method, weights=weights, device="cpu", **options)
    return answer_of(result)


def answer_of(result: es.Result) -> dict[str, Any]:
    """Return hashes of all that a result holds, and its record."""
    names = ("volume", "synthetic", "uncertainty", "prior", "residual")
    answer = {name: volume_of(getattr(result, name)) for name in names if getattr(result, name) is not None}
    if result.displacement is not None:
        answer |= {"displacement": field_of(result.displacement), "confidence": digest(result.confidence)}
    if result.displacement is not None or result.along is not None:
        answer["labels"] = digest(result.apply(labels()))
    return answer | {"record": result.provenance}


def volume_of(volume: es.Volume) -> dict[str, Any]:
    """Return a volume's hash and where it lies."""
    grid = volume.grid
    place = {"of": grid.shape, "voxel_nm": grid.voxel_nm, "origin_nm": grid.origin_nm, "name": volume.name}
    return digest(volume.read(slice(None), CORNER, CORNER)) | place


def field_of(field: es.Displacement) -> dict[str, Any]:
    """Return hashes of a displacement's nodes and of its vectors at every pixel."""
    nodes, dense = (digest(np.stack([f(z) for z in range(field.shape[0])])) for f in (field.section, field.dense))
    return {"nodes": nodes, "dense": dense, "limit_nm": field.limit_nm, "voxel_nm": field.voxel_nm}


def digest(array: Any) -> dict[str, Any]:
    """Return the hash, type and shape of an array."""
    whole = np.ascontiguousarray(array)
    sha256 = hashlib.sha256(whole.data).hexdigest()
    return {"sha256": sha256, "dtype": str(whole.dtype), "shape": list(whole.shape)}


def trained(method: str) -> dict[str, Any]:
    """Return what two steps of training report, and the weights they lead to."""
    from scipy.ndimage import gaussian_filter

    noise = 1000 * gaussian_filter(np.random.default_rng(4).normal(size=(80, 80, 80)), 2.0)
    volume = es.Volume.of(np.clip(128 + noise, 0, 255).astype(np.uint8), voxel_nm=(10, 10, 10))
    steps: list[Any] = []
    asked: dict[str, Any] = {"steps": 2, "save_anyway": True, "on_step": steps.append, "device": "cpu"}
    with workplace():
        report = es.train(method, volume, "own.safetensors", **asked)
        files = {path.name: written(path) for path in sorted(Path().iterdir())}
    # Whether a validation falls between two steps is a matter of time; what the last one found is in the report.
    terms = [{name: value for name, value in step.items() if not name.startswith("val_")} for step in steps]
    return {"report": report, "steps": terms, "files": files}


@contextlib.contextmanager
def workplace() -> Iterator[None]:
    """Work in an empty folder, which is called the same for every case and is gone afterwards."""
    folder = Path(os.environ[FOLDER]) / "case"
    folder.mkdir()
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        shutil.rmtree(folder)


def scored(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a method; super-resolution needs pixels enough to be made coarser."""
    return es.evaluate(name, given("lazy wide" if "superres" in name else "intact"), device="cpu", **asked)


def fields() -> dict[str, Any]:
    """Return what the algebra of displacements answers."""
    field = es.align(given("shaken"), method="optical-flow", selfcheck=False, device="cpu").displacement
    points = np.random.default_rng(2).uniform((0, 4, 4), (11, 43, 51), (20, 3))
    return {
        "inverse": field_of(es.invert(field)),
        "twice": field_of(es.compose(field, field)),
        "points": digest(es.move_points(points, field)),
        "applied": digest(es.apply_field(labels(), field)),
    }


def commanded(words: list[str]) -> dict[str, Any]:
    """Return what a command says, its exit code, and what is in the files it wrote."""
    said, told = io.StringIO(), io.StringIO()
    with workplace():
        for name in ("stack", "scan", "tall"):
            es.write(given(name), f"{name}.ome.tif")
        for name, data in (("labels", labels()), ("hole", hole())):
            es.write(es.Volume.of(data, voxel_nm=(10, 10, 10)), f"{name}.tif")
        before = set(Path().iterdir())
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            code = entry_points(group="console_scripts")["emsynth"].load()(words)
        files = {path.name: written(path) for path in sorted(set(Path().iterdir()) - before)}
    text = said.getvalue()
    lines = [line for line in told.getvalue().splitlines() if line.startswith("emsynth")]
    answer = json.loads(text) if code == 0 and "--json" in words else TIMES.sub("SECONDS", text)
    return {"code": code, "said": answer, "told": lines, "files": files}


def written(path: Path) -> dict[str, Any]:
    """Return hashes of every array of a file, where its volume lies, and its record."""
    import tifffile
    import zarr
    from safetensors.numpy import load_file

    if path.suffix == ".npy":
        return digest(np.load(path))
    if path.suffix == ".toml":
        return tomllib.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".safetensors":
        return {name: digest(tensor) for name, tensor in sorted(load_file(path).items())}
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tif:
            arrays = {str(i): digest(series.asarray()) for i, series in enumerate(tif.series)}
    else:
        node = zarr.open(path, mode="r")
        parts = dict(node.members(max_depth=None)) if isinstance(node, zarr.Group) else {"": node}
        arrays = {name: digest(part[:]) for name, part in parts.items() if isinstance(part, zarr.Array)}
    if path.name.startswith("field"):
        return arrays | {"field": field_of(es.read_field(path))}
    return arrays | {"volume": volume_of(es.read(path)), "record": read_provenance(path)}
