"""What every method answers on small fixed inputs, through Python, the command line and the window, as hashes.

Usage: python scripts/golden.py record FILE.json [--only PATTERN]
       python scripts/golden.py compare FILE.json [--only PATTERN]

``record`` writes what there is now; ``compare`` says what differs from it, one line a difference, and exits with 1.
PATTERN is matched with the names of cases, as in "python/align/*". The window needs a display: run under xvfb-run with
QT_QPA_PLATFORM=xcb. To change the package and prove that nothing changed, record before and compare after.

Laws: only what users can reach is used (the public API, the console command, the manifest's ids and the words on
buttons), so that the same script runs before and after; it runs on the CPU in one thread, without the user's own
settings and weights; times, versions and folders are left out, and a refusal is an answer like any other. Hashes are
those of one machine and one set of libraries: they are no truth to keep.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples

Case = Callable[[], Any]

FOLDER = "EMSYNTH_GOLDEN_FOLDER"
FLEETING = {"created", "modified", "version", "seconds", "voxels_per_second"}
ABSENT = "(absent)"
TOLD = 160
"""Most characters of a value in a line about a difference."""

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
SCORED = {
    "interpolate/emsynth": {"gap": 2, "limit": 3},
    "interpolate/fitted": {"limit": 3},
    "align/optical-flow": {"limit": 2},
    "upsample/emsynth": {},
    "upsample/kriging": {"sampling": "slab"},
    "superres/bicubic": {"limit": 2},
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
    "train": "train interpolate/jain2017 stack.ome.tif own.safetensors --steps 2 --device cpu --save-anyway --json",
    "methods": "methods --json",
    "methods, to read": "methods",
    "no such section": "interpolate stack.ome.tif out.tif --sections 99",
    "no such method": "align stack.ome.tif out.tif --method nothing",
    "no such factor": "superres scan.ome.tif out.tif --factor 9 --json",
}
# A dock's title: the method it is given, and the buttons that are pressed before Run.
DOCKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Restore sections": ("linear", ("+ Damaged",)),
    "Fine alignment": ("optical-flow", ()),
    "Upsample z": ("kriging", ()),
    "Super-resolve": ("bicubic", ()),
}


def main() -> int:
    """Run the script in an environment of its own, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="*", metavar="PATTERN", help='of cases, as in "python/align/*"')
    options = parser.parse_args()
    if FOLDER not in os.environ:
        return alone()
    chosen = {name: case for name, case in cases() if fnmatch(name, options.only)}
    if not chosen:
        parser.error(f"no case is called {options.only!r}")
    if any(name.startswith("window/") for name in chosen) and not os.environ.get("DISPLAY"):
        parser.error('the window needs a display: run under xvfb-run, or give --only "[pc]*"')
    found = {name: answered(name, case) for name, case in chosen.items()}
    if options.what == "record":
        options.file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    known = json.loads(options.file.read_text(encoding="utf-8"))
    lines = list(differences({name: known[name] for name in known if fnmatch(name, options.only)}, found))
    print("\n".join([*lines, f"{len(found)} cases, {len(lines)} differences"]))
    return 1 if lines else 0


def alone() -> int:
    """Run this command again in one thread, with no accelerator and nothing of the user's own."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        own = {FOLDER: folder, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "120"}
        own |= {name: f"{folder}/{name}" for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        own["NAPARI_CONFIG"] = f"{folder}/settings.yaml"
        return subprocess.run([sys.executable, *sys.argv], env=os.environ | own, check=False).returncode


def answered(name: str, case: Case) -> Any:
    """Return a case's answer in JSON's types; a fault is an answer too."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)
    started = time.monotonic()
    try:
        answer = case()
    except Exception as error:  # noqa: BLE001 - whatever happens is what is to be compared
        answer = {"raised": type(error).__name__, "line": str(error)}
    print(f"{time.monotonic() - started:6.1f} s  {name}", file=sys.stderr, flush=True)
    return lasting(json.loads(json.dumps(answer)))


def lasting(value: Any) -> Any:
    """Return a JSON value without what another run, version or folder changes."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in FLEETING}
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return value.replace(os.environ[FOLDER], "FOLDER") if isinstance(value, str) else value


def differences(known: Any, found: Any, where: str = "") -> Iterator[str]:
    """Say where two JSON values differ, one line a difference."""
    if isinstance(known, dict) and isinstance(found, dict):
        for key in sorted(known.keys() | found.keys()):
            yield from differences(
                known.get(key, ABSENT), found.get(key, ABSENT), f"{where}.{key}".lstrip(".")
            )
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        for i, (one, other) in enumerate(zip(known, found, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif known != found:
        yield f"{where}: {json.dumps(known)[:TOLD]} became {json.dumps(found)[:TOLD]}"


def cases() -> Iterator[tuple[str, Case]]:
    """Yield every case and its name, face by face."""
    for task, options in OPTIONS.items():
        for spec in es.methods(task):
            for weights in spec.weights or (None,):
                for name, asked in options.items():
                    label = "/".join(part for part in (spec.id, weights, name) if part)
                    yield f"python/{task}/{label}", partial(called, task, spec.id, weights, asked)
    for name, asked in SCORED.items():
        yield f"python/evaluate/{name}", partial(scored, name, asked)
    yield "python/detect", lambda: [suspect.to_json() for suspect in es.detect(samples.damaged())]
    yield "python/fields", fields
    for name, words in COMMANDS.items():
        yield f"command/{name}", partial(commanded, words.split())
    for title, (method, buttons) in DOCKS.items():
        yield f"window/{title}", partial(docked, title, method, buttons)


# ------------------------------------------------------------------------------ inputs


def stack() -> Any:
    """Return acquired sections [12, 48, 56] uint8."""
    return samples.truth().read(slice(24, 36), slice(64, 112), slice(64, 120))


def given(name: str) -> es.Volume:
    """Return an input, in memory of its own: what was measured of another one says nothing of it."""
    import dask.array as da

    data = np.array(stack()[:5, :20, :18] if "scan" in name else stack())
    if name == "shaken":
        shifts = np.random.default_rng(1).integers(-2, 3, (len(data), 2))
        data = np.stack([np.roll(z, by, (0, 1)) for z, by in zip(data, shifts.tolist(), strict=True)])
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


# ------------------------------------------------------------------------------ Python


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
        answer["displacement"] = field_of(result.displacement)
    if result.confidence is not None:
        answer["confidence"] = digest(result.confidence)
    if result.displacement is not None or result.along is not None:
        answer["labels"] = digest(result.apply(labels()))
    return answer | {"record": result.provenance}


def volume_of(volume: es.Volume) -> dict[str, Any]:
    """Return a volume's hash and where it lies."""
    grid = {"voxel_nm": volume.grid.voxel_nm, "origin_nm": volume.grid.origin_nm, "name": volume.name}
    return digest(volume.read(slice(None))) | grid


def field_of(field: es.Displacement) -> dict[str, Any]:
    """Return hashes of a displacement's nodes and of its vectors at every pixel."""
    sections = range(field.shape[0])
    dense = digest(np.stack([field.dense(z) for z in sections]))
    nodes = digest(np.stack([field.section(z) for z in sections]))
    return {"nodes": nodes, "dense": dense, "limit_nm": field.limit_nm, "voxel_nm": field.voxel_nm}


def digest(array: Any) -> dict[str, Any]:
    """Return the hash, type and shape of an array."""
    whole = np.ascontiguousarray(array)
    return {
        "sha256": hashlib.sha256(whole.data).hexdigest(),
        "dtype": str(whole.dtype),
        "shape": list(whole.shape),
    }


def scored(name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of a method; super-resolution needs pixels enough to be made coarser."""
    wide = es.Volume.of(
        samples.truth().read(slice(24, 28), slice(0, 160), slice(0, 160)), voxel_nm=(10, 10, 10)
    )
    return es.evaluate(name, wide if name.startswith("superres") else given("intact"), device="cpu", **asked)


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


# ------------------------------------------------------------------------------ the command line


def commanded(words: list[str]) -> dict[str, Any]:
    """Return what a command says, its exit code, and what is in the files it wrote."""
    (command,) = entry_points(group="console_scripts", name="emsynth")
    said, told = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory(dir=os.environ[FOLDER]) as folder, contextlib.chdir(folder):
        for name in ("stack", "scan"):
            es.write(given(name), f"{name}.ome.tif")
        for name, data in (("labels", labels()), ("hole", hole())):
            es.write(es.Volume.of(data, voxel_nm=(10, 10, 10)), f"{name}.tif")
        before = set(Path().iterdir())
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
            code = command.load()(words)
        files = {path.name: written(path) for path in sorted(set(Path().iterdir()) - before)}
    text = said.getvalue().replace(folder, "FOLDER")
    lines = [
        line.replace(folder, "FOLDER") for line in told.getvalue().splitlines() if line.startswith("emsynth")
    ]
    return {
        "code": code,
        "said": json.loads(text) if "--json" in words and text else text,
        "told": lines,
        "files": files,
    }


def written(path: Path) -> dict[str, Any]:
    """Return hashes of every array of a file, where its volume lies, and its record."""
    import tifffile
    import zarr

    if path.suffix == ".npy":
        return {"data": digest(np.load(path))}
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tif:
            arrays = {str(i): digest(series.asarray()) for i, series in enumerate(tif.series)}
    elif path.suffix == ".zarr":
        node = zarr.open(path, mode="r")
        parts = dict(node.members(max_depth=None)) if isinstance(node, zarr.Group) else {"": node}
        arrays = {name: digest(part[:]) for name, part in parts.items() if isinstance(part, zarr.Array)}
    else:
        return {"bytes": hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"}
    if path.name.startswith("field"):
        return arrays | {"field": field_of(es.read_field(path))}
    volume = es.read(path)
    return arrays | {"volume": volume_of(volume), "record": volume.metadata.get("emsynth")}


# ------------------------------------------------------------------------------ the window


def docked(title: str, method: str, buttons: tuple[str, ...]) -> dict[str, Any]:
    """Return the layers that a dock's Run adds, the code it copies, and what Undo leaves."""
    import napari
    from qtpy.QtWidgets import QApplication, QComboBox

    viewer = napari.Viewer()
    volume = given("scan" if title == "Super-resolve" else "shaken")
    viewer.add_image(
        volume.data, name="stack", scale=(10, 10, 10), units=["nm"] * 3, contrast_limits=(0, 255)
    )
    _, dock = viewer.window.add_plugin_dock_widget("napari-emsynth", title)
    offers = until(lambda: [box for box in dock.findChildren(QComboBox) if box.findData(method) >= 0])
    offers[0].setCurrentIndex(offers[0].findData(method))
    offers[0].activated.emit(offers[0].currentIndex())
    viewer.dims.set_point(0, 50)
    for text in (*buttons, "Copy as code", "Run"):
        press(dock, text)
    until(lambda: len(viewer.layers) > 1 and pressable(dock, "Run"))
    layers = {layer.name: layer_of(layer) for layer in viewer.layers}
    code = QApplication.clipboard().text()
    press(dock, "Undo")
    left = [layer.name for layer in viewer.layers]
    viewer.close()
    return {"layers": layers, "code": code, "undone": left}


def layer_of(layer: Any) -> dict[str, Any]:
    """Return a layer's hash, its place and its record."""
    place = {
        "scale": layer.scale.tolist(),
        "translate": layer.translate.tolist(),
        "units": list(map(str, layer.units)),
    }
    shown = {"kind": type(layer).__name__, "visible": layer.visible, "record": layer.metadata.get("emsynth")}
    return digest(layer.data) | place | shown


def pressable(dock: Any, text: str) -> list[Any]:
    """Return the enabled buttons of a dock that say so."""
    from qtpy.QtWidgets import QPushButton

    return [
        button for button in dock.findChildren(QPushButton) if button.text() == text and button.isEnabled()
    ]


def press(dock: Any, text: str) -> None:
    """Press the first button that says so, once it can be pressed."""
    until(lambda: pressable(dock, text))[0].click()
    until(lambda: True)


def until(ready: Callable[[], Any], limit_s: float = 120.0, steady_s: float = 0.5) -> Any:
    """Let the window work until something has been there for a while, and return it."""
    from qtpy.QtWidgets import QApplication

    started = since = time.monotonic()
    while time.monotonic() - since < steady_s:
        QApplication.processEvents()
        time.sleep(0.01)
        found = ready()
        since = since if found else time.monotonic()
        if time.monotonic() - started > limit_s:
            raise TimeoutError("the window did not answer")
    return found


if __name__ == "__main__":
    sys.exit(main())
