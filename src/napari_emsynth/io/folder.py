"""A folder of 2-D images, one section a file.

Conventions: sections follow the natural order of the names (s2 before s10). The folder states no voxel size.

Laws: every image counts: twins of one name, two of one number, and images that differ are refused; numbers that are
left out between two sections, and files that are no images, are said; an image may be as large as it likes, but no
larger than its file can hold.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid, Shape
from napari_emsynth.io.choice import EVERYTHING, Choice
from napari_emsynth.io.stored import Stored, Window, identity, opening
from napari_emsynth.io.tiff.meaning import COLOURED
from napari_emsynth.io.tiff.pages import Pages
from napari_emsynth.io.tiff.stack import images, opened, reopened, stack_of
from napari_emsynth.sections import spans
from napari_emsynth.volume import Array, Volume

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")
# What people keep beside their images.
NOTES = (".txt", ".csv", ".xml", ".json", ".log", ".md", ".ini", ".db", ".yaml", ".yml", ".toml", ".pdf", ".html")
GREY_MODES = {
    "L": "uint8",
    "1": "bool",
    "F": "float32",
    "I": "int32",
    "I;16": "uint16",
    "I;16B": "uint16",
    "P": "uint8",
}
# No codec of still images makes a byte out of fewer bits: what claims to is damaged.
MOST_PER_BYTE = 3000

Look = tuple[int, int, str]


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers within names by value."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", name.lower()) if p]


def sections_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, in order; hidden files are left out.

    Raises:
        InputError: two of them are the same section.
    """
    files = (f for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith("."))
    ordered = sorted((f for f in files if f.is_file()), key=lambda f: natural(f.name))
    seen: dict[str, Path] = {}
    for file in ordered:
        other = seen.setdefault(str(natural(file.stem)), file)
        if other is not file:
            raise InputError(f"{folder} holds {other.name} and {file.name}: one section twice; move one of them away")
    return ordered


class Images:
    """The :class:`napari_emsynth.io.stored.Source` of a folder: each image is decoded when it is asked for.

    Args:
        files: in order.
        look: rows, columns and type of each.
        choice: which colour.
    """

    def __init__(self, files: Sequence[Path], look: Look, choice: Choice) -> None:
        self.shape: Shape = (len(files), *look[:2])
        self.dtype, self.chunks = np.dtype(look[2]), (1, *look[:2])
        self._files, self._choice = [str(file) for file in files], choice
        self._were = [identity(file) for file in files]

    def read(self, box: Window) -> Array:
        """Return a box [z, y, x]."""
        z, y, x = box
        return np.stack([self._section(section)[y, x] for section in range(z.start, z.stop)])

    def _section(self, z: int) -> Array:
        path = Path(self._files[z])
        if identity(path) != self._were[z]:
            raise InputError(f"{path} was changed by another program since it was opened; run again")
        section = _decoded(path, self._choice)
        if (*section.shape, str(section.dtype)) != (*self.shape[1:], str(self.dtype)):
            raise InputError(f"{path} is {section.dtype} {section.shape} when it is decoded, not {self.dtype}")
        return section


def read_folder(folder: Path, choice: Choice = EVERYTHING) -> Volume:
    """Read a folder of 2-D images as a volume, each decoded when it is asked for.

    Raises:
        ChoiceError: images of several colours, and none is chosen.
        InputError: no image, an image that is not 2-D, images of different shape or type.
    """
    files = sections_in(folder)
    if not files:
        raise InputError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    looks = [_look(file, choice) for file in files]
    first, meanings = looks[0][0], Counter(said for _, said, _ in looks if said)
    for file, (look, *_) in zip(files, looks, strict=True):
        if look != first:
            sizes = [f"{name} is {kind} ({y}, {x})" for name, (y, x, kind) in ((file, look), (files[0].name, first))]
            raise InputError(f"{sizes[0]}, {sizes[1]}; all must be alike")
    if 0 < meanings[COLOURED] < len(files):
        raise InputError(
            f"{folder}: {meanings[COLOURED]} of {len(files)} images have a colour map; convert them to grey"
        )
    if len({colours for _, said, colours in looks if said == COLOURED}) > 1:
        raise InputError(f"{folder}: its images have different colour maps; convert them to grey")
    notices = [f"{n} of {len(files)} images of {folder.name} {words}" for words, n in meanings.items()]
    notices += [*_gaps(files), *_others(folder)]
    grid = Grid(shape=(len(files), *first[:2]))
    data = Stored(folder, Images(files, first, choice))
    return Volume(data, grid, folder.name, {"path": str(folder), "notices": tuple(notices)})


def _gaps(files: Sequence[Path]) -> list[str]:
    """Return a notice where the names count on and leave numbers out."""
    keys = [natural(file.stem) for file in files]
    differ = [i for i in range(len(keys[0])) if len({str(key[i]) for key in keys if len(key) > i}) > 1]
    if len(files) < 3 or len({len(key) for key in keys}) > 1 or len(differ) != 1:
        return []
    numbers = [key[differ[0]][1] for key in keys]
    steps = np.diff(numbers)
    usual = int(np.median(steps))
    gaps = [z for z, step in enumerate(steps) if usual and step > usual]
    if not gaps or len(gaps) > len(files) // 3:
        return []
    lost = [n for z in gaps for n in range(numbers[z] + usual, numbers[z + 1], usual)]
    where = ", ".join(f"{z} and {z + 1}" for z in gaps[:8])
    return [f"images numbered {spans(lost[:64])} are not there: sections are missing between {where}"]


def _others(folder: Path) -> list[str]:
    """Return a notice of what else a folder holds."""
    left = sorted(
        f.name
        for f in folder.iterdir()
        if not f.name.startswith(".")
        and f.suffix.lower() not in NOTES
        and f.name != "Thumbs.db"
        and not (f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    )
    shown = ", ".join(left[:4]) + (" ..." if len(left) > 4 else "")
    return [f"{folder.name} also holds {shown}: left out"] if left else []


# ---------------------------------------------------------------------------------------- one image

_LIMIT = threading.Lock()


@contextmanager
def _picture(file: Path) -> Iterator[Any]:
    """Open an image that may be larger than the decoder thinks reasonable, though not than its file can hold.

    Raises:
        InputError: its header states more pixels than its bytes can hold.
    """
    from PIL import Image

    with _LIMIT:  # the limit is the decoder's global one
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = usual
    with image:
        if image.width * image.height > MOST_PER_BYTE * file.stat().st_size:
            said = f"{file} states {image.height} x {image.width} pixels"
            raise InputError(f"{said}, which its {file.stat().st_size} bytes cannot hold")
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise InputError(f"{file} holds {frames} pictures; every image of a folder must be one section")
        if image.mode not in GREY_MODES and any(";16" in str(part[-1]) for part in image.tile):
            raise InputError(
                f"{file} has colours of 16 bits, of which 8 would be read; save it as 16-bit grey or as TIFF"
            )
        yield image


def _look(file: Path, choice: Choice) -> tuple[Look, str, bytes]:
    """Return rows, columns and type of an image, what is to be said of it, and its colour map, without decoding it.

    Raises:
        ChoiceError: several colours, and none is chosen.
        InputError: not one grey section.
    """
    with opening(file, "an image"):
        if file.suffix.lower() in TIFF_SUFFIXES:
            with opened(file) as tif:
                stack = stack_of(tif, images(tif, file), file, choice, single=True)
            if stack.shape[0] != 1 or stack.missing:
                raise InputError(f"{file} has shape {stack.shape}; every image of a folder must be one section y, x")
            said = [line.removeprefix(f"{file.name} ") for line in stack.notices]
            colours = stack.image.first.colormap
            return (*stack.shape[1:], str(stack.dtype)), "; ".join(said), b"" if colours is None else colours.tobytes()
        with _picture(file) as image:
            bands = image.getbands()
            choice.pick(file, "channel", bands if image.mode not in GREY_MODES else [""])
            greys = _greys(image) if image.mode == "P" and not choice.labels else ""
            kind = GREY_MODES.get(image.mode, "uint8")
            colours = image.palette.tobytes() if greys is None else b""
            return (image.height, image.width, kind), COLOURED if greys is None else "", colours


def _greys(image: Any) -> Array | None:
    """Return the grey level of every index of a palette, None where it holds colours."""
    palette = np.frombuffer(image.palette.tobytes(), np.uint8).reshape(-1, len(image.palette.mode))[:, :3]
    return palette[:, 0] if (palette == palette[:, :1]).all() else None


def _decoded(file: Path, choice: Choice) -> Array:
    """Decode one image [y, x]."""
    if file.suffix.lower() in TIFF_SUFFIXES:
        with opened(file) as tif:
            stack = stack_of(tif, images(tif, file), file, choice, single=True)
        _, y, x = stack.shape
        pages = Pages(file, stack.shape, stack.dtype, reopened(choice), (tif, stack.planes))
        section: Array = pages.read((slice(0, 1), slice(0, y), slice(0, x)))[0]
        return section
    with _picture(file) as image:
        if image.mode not in GREY_MODES:
            return np.asarray(image.getchannel(choice.channel or 0))
        pixels = np.asarray(image, GREY_MODES[image.mode])
        greys = _greys(image) if image.mode == "P" and not choice.labels else None
        shown: Array = pixels if greys is None else np.pad(greys, (0, 256 - len(greys)))[pixels]
        return shown
