"""MRC volumes, memory-mapped.

Conventions: cell sizes are Angstrom; 1 x 1 x 1 Angstrom is what writers put when they do not know, so it is
unknown.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.io.units import plausible
from napari_emsynth.volume import Volume

HEADER_BYTES = 1024


def read_mrc(path: Path) -> Volume:
    """Read an MRC file as a volume.

    Raises:
        InputError: not an MRC file, damaged, or not one stack of grey sections.
    """
    import mrcfile
    from mrcfile.utils import data_dtype_from_header, data_shape_from_header

    try:
        with mrcfile.open(path, mode="r", header_only=True) as mrc:
            header = mrc.header.copy()
            steps = tuple(float(mrc.voxel_size[a]) for a in "zyx")
        dtype, shape = data_dtype_from_header(header), data_shape_from_header(header)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as MRC: {error}") from error
    if len(shape) != 3:
        raise InputError(f"{path} has shape {tuple(shape)}, needs 3 axes z, y, x")
    offset = HEADER_BYTES + int(header.nsymbt)
    if offset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise InputError(f"{path} is cut short: it holds less than the {tuple(shape)} voxels it states")
    data = np.memmap(path, dtype, "r", offset, tuple(shape))
    known = steps != (1.0, 1.0, 1.0)
    voxel_nm = plausible([round(s / 10, 6) for s in steps]) if known else None
    origin = [float(header.origin[a]) / 10 for a in "zyx"] if known else [0.0, 0.0, 0.0]
    grid = Grid(shape=data.shape, voxel_nm=voxel_nm, origin_nm=(origin[0], origin[1], origin[2]))
    return Volume(data, grid, path.stem, {"path": str(path)})
