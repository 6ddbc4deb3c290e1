"""Make the bundled sample from the published FIB-SEM block.

    python scripts/make_sample.py FOLDER_WITH_fib25_train_large.tif

The crop and the damage are fixed here, so the same source gives the same files, bit for bit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_emsynth.samples import DAMAGED, FOLDER, RECORD, TRUTH
from napari_emsynth.testing.damage import plant

SOURCE = "fib25_train_large.tif"
VOXEL_NM = (10.0, 10.0, 10.0)
ORIGIN = (252, 264, 264)
SHAPE = (48, 256, 256)
# Well separated, but for one run of two missing sections (22, 23).
PLAN = {6: "blurred", 14: "saturated", 22: "blank", 23: "blank", 31: "half-missing", 40: "displaced"}
SEED = 7
LIMIT_BYTES = 4_000_000


def write_tiff(name: str, data: np.ndarray[Any, Any]) -> int:
    """Write a compressed OME-TIFF with the voxel size; return its size in bytes."""
    z, y, x = VOXEL_NM
    metadata = {
        "axes": "ZYX", "UUID": "00000000-0000-0000-0000-000000000001",
        "PhysicalSizeZ": z, "PhysicalSizeZUnit": "nm",
        "PhysicalSizeY": y, "PhysicalSizeYUnit": "nm",
        "PhysicalSizeX": x, "PhysicalSizeXUnit": "nm",
    }  # fmt: skip
    compression = {"compression": "zlib", "compressionargs": {"level": 9}, "predictor": True}
    # A fixed UUID: the same pixels give the same file, bit for bit.
    tifffile.imwrite(FOLDER / name, data, ome=True, photometric="minisblack", metadata=metadata, **compression)
    return (FOLDER / name).stat().st_size


def main(folder: Path) -> None:
    """Crop, damage, write and report the sizes."""
    z, y, x = (slice(start, start + size) for start, size in zip(ORIGIN, SHAPE, strict=True))
    truth = tifffile.imread(folder / SOURCE)[z, y, x]
    if truth.shape != SHAPE:
        raise SystemExit(f"{SOURCE} gives a crop of {truth.shape} voxels, needs {SHAPE}")
    damaged, record = plant(truth, PLAN, seed=SEED)
    sizes = [write_tiff(DAMAGED, damaged), write_tiff(TRUTH, truth[sorted(PLAN)])]
    document = {
        "source": SOURCE,
        "crop_origin_zyx": ORIGIN,
        "shape_zyx": SHAPE,
        "voxel_nm": VOXEL_NM,
        "seed": SEED,
        "planted": [planted.to_json() for planted in record],
    }
    (FOLDER / RECORD).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"{DAMAGED} {sizes[0]} bytes, {TRUTH} {sizes[1]} bytes")
    if sum(sizes) > LIMIT_BYTES:
        raise SystemExit(f"the sample has {sum(sizes)} bytes, above the limit of {LIMIT_BYTES} bytes")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
