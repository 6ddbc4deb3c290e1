"""A folder of 2-D images, one section a file.

Conventions: sections follow the natural order of the names (s2 before s10). The folder states no voxel size.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.volume import Array, Volume

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")
GREY_MODES = {"L": "uint8", "1": "bool", "F": "float32", "I": "int32", "I;16": "uint16", "I;16B": "uint16"}


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers within names by value."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", name.lower()) if p]


def sections_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, in order; hidden files are left out."""
    files = (f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
    return sorted((f for f in files if f.is_file()), key=lambda f: natural(f.name))


def read_folder(folder: Path) -> Volume:
    """Read a folder of 2-D images as a volume, each decoded when it is asked for.

    Raises:
        InputError: no image, an image that is not grey or 2-D, images of different shape or type.
    """
    import dask.array as da
    from dask import delayed

    files = sections_in(folder)
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    shape, dtype = _look(files[0])
    for file in files[1:]:
        other = _look(file)
        if other != (shape, dtype):
            raise InputError(f"{file} is {other[1]} {other[0]}, {files[0].name} is {dtype} {shape}; all must be alike")
    section = delayed(_section, pure=True)
    data = da.stack([da.from_delayed(section(str(f)), shape, dtype) for f in files])
    return Volume(data, Grid(shape=(len(files), *shape)), folder.name, {"path": str(folder)})


def _look(file: Path) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Return shape and type of an image without decoding it."""
    from PIL import Image, UnidentifiedImageError

    try:
        if file.suffix.lower() in TIFF_SUFFIXES:
            with tifffile.TiffFile(file) as tif:
                shape, dtype = tif.series[0].shape, np.dtype(tif.series[0].dtype).newbyteorder("=")
        else:
            with Image.open(file) as image:
                grey = GREY_MODES.get(image.mode)
                shape = (image.height, image.width) if grey else (image.height, image.width, len(image.getbands()))
                dtype = np.dtype(grey or "uint8")
    except (tifffile.TiffFileError, UnidentifiedImageError, OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as an image: {error}") from error
    if len(shape) != 2:
        raise InputError(f"{file} has shape {tuple(shape)}; every image of a folder must be one grey section y, x")
    return (int(shape[0]), int(shape[1])), dtype


def _section(file: str) -> Array:
    """Decode one image [y, x]."""
    if Path(file).suffix.lower() in TIFF_SUFFIXES:
        pixels = tifffile.imread(file, series=0)
        return np.asarray(pixels, pixels.dtype.newbyteorder("="))
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image, GREY_MODES[image.mode])
