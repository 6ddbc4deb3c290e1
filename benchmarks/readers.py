"""Whether other programs read what we write: image, levels, voxel size, mask and labels of an OME-Zarr.

Those that are not installed are left out. In an environment of its own, since they bring much along:

    python -m venv others && others/bin/pip install . ome-zarr ngff-zarr bioio bioio-ome-zarr yaozarrs
    others/bin/python benchmarks/readers.py
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import napari_emsynth as es
from napari_emsynth.io.zarr import parts

VOXEL = (30.0, 8.0, 8.0)
FAILED = "FAILED"


def written(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Write an image with its mask, the same in shards, and labels; yield each with its voxels."""
    data = np.random.default_rng(0).integers(0, 255, (24, 600, 560), dtype="u1")
    result = es.interpolate(es.Volume.of(data, voxel_nm=VOXEL), [7], method="linear", selfcheck=False)
    es.write(result, folder / "image.ome.zarr")
    yield "image.ome.zarr", result.volume.data
    usual, parts.MOST_FILES = parts.MOST_FILES, 2
    es.write(result, folder / "shards.ome.zarr")
    parts.MOST_FILES = usual
    yield "shards.ome.zarr", result.volume.data
    cells = (data // 64).astype("u4")
    es.write(es.Volume.of(cells, voxel_nm=VOXEL, labels=True), folder / "labels.ome.zarr")
    yield "labels.ome.zarr", cells


def by_yaozarrs(path: Path, data: np.ndarray) -> bool:  # noqa: ARG001 - it looks at the metadata
    import yaozarrs

    yaozarrs.validate_zarr_store(str(path))
    return True


def by_ome_zarr(path: Path, data: np.ndarray) -> bool:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    nodes = [node for node in Reader(parse_url(str(path)))() if node.data]
    image = nodes[0]
    scale = next(s["scale"] for s in image.metadata["coordinateTransformations"][0] if s["type"] == "scale")
    masks = [node for node in nodes if str(node.zarr).endswith("labels/synthetic [zgroup]")]
    marked = "labels" in path.name or np.flatnonzero(np.asarray(masks[0].data[0]).any((1, 2))).tolist() == [7]
    return bool(tuple(scale) == VOXEL and marked and np.array_equal(np.asarray(image.data[0]), data))


def by_ngff_zarr(path: Path, data: np.ndarray) -> bool:
    import ngff_zarr

    image = ngff_zarr.from_ngff_zarr(str(path)).images[0]
    units = set(image.axes_units.values())
    return (
        tuple(image.scale.values()) == VOXEL and units == {"nanometer"} and np.array_equal(image.data.compute(), data)
    )


def by_bioio(path: Path, data: np.ndarray) -> bool:
    from bioio import BioImage

    image = BioImage(str(path))
    return tuple(image.physical_pixel_sizes) == VOXEL and np.array_equal(image.data[0, 0], data)


READERS: dict[str, Callable[[Path, Any], bool]] = {
    "yaozarrs": by_yaozarrs,
    "ome-zarr-py": by_ome_zarr,
    "ngff-zarr": by_ngff_zarr,
    "bioio": by_bioio,
}


def main() -> None:
    """Print what each program makes of each file; exit 1 where one reads something else."""
    failed = False
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings(action="ignore"):
        for name, data in written(Path(place)):
            for reader, reads in READERS.items():
                try:
                    said = "reads it" if reads(Path(place) / name, data) else FAILED
                except ImportError:
                    said = "not installed"
                except Exception as error:  # noqa: BLE001 - whatever another program says
                    said = f"{FAILED}: {error}"
                failed |= said.startswith(FAILED)
                print(f"{name:16} {reader:12} {said}")
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
