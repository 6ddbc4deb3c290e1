"""Which pages of a TIFF are the sections of a volume.

Conventions: an :class:`Image` is what a user would call one: a stack, a hyperstack, a thumbnail; its planes follow its
leading axes, in C order.

Laws: every page of the file belongs to an image or is a reduced copy of one, or the file is refused; every page is held
against the first one, and read by its own tags; what is left out by choice is the user's choice.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.io.choice import EVERYTHING, Choice
from napari_emsynth.io.content import MARKS
from napari_emsynth.io.stored import opening
from napari_emsynth.io.tiff.meaning import COLOURED, meaning
from napari_emsynth.io.tiff.pages import Plane
from napari_emsynth.sections import spans

# Leading axes by what they are; any other one counts sections.
CHANNEL, TIME, SAMPLE = "C", "T", "S"
COLOURS = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
# The tag that says which way up a page is, and its value for rows from the top and columns from the left.
ORIENTATION, UPRIGHT = 274, 1
# Kinds of files in which nothing but the pages themselves says which belong together.
LOOSE = frozenset({"generic", "uniform"})


@dataclass(frozen=True, eq=False)
class Image:
    """One image of a file.

    Args:
        name: that the file gives it; "" for none.
        index: of it among the file's images, as metadata counts them.
        lead: leading axes and their lengths, rows and columns left out.
        planes: in the order of the leading axes.
        first: its first page.
        levels: of coarser copies, finest first; without this one.
    """

    name: str
    index: int
    lead: tuple[tuple[str, int], ...]
    planes: Sequence[Plane]
    first: Any
    levels: tuple[Image, ...] = ()

    @property
    def words(self) -> str:
        """What it holds, in words."""
        said = f"{self.name}: " if self.name else ""
        sizes = [n for _, n in self.lead if n > 1] + [self.first.imagelength, self.first.imagewidth]
        return f"{said}{' x '.join(map(str, sizes))} {self.first.dtype}{' reduced copy' if self.is_reduced else ''}"

    @property
    def is_reduced(self) -> bool:
        """True of what the file calls a copy of lower resolution: a thumbnail."""
        return bool(self.first.is_reduced)


@dataclass(frozen=True, eq=False)
class Stack:
    """The planes of a volume, and what is to be said of how they were found."""

    image: Image
    shape: Shape
    dtype: np.dtype[Any]
    planes: Sequence[Plane]
    notices: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> list[int]:
        """The sections that the file names and does not hold."""
        return [z for z, plane in enumerate(self.planes) if plane.page is None]

    @property
    def is_sparse(self) -> bool:
        """True where a section, a strip or a tile is missing."""
        return any(p.page is None or (p.offset is None and 0 in p.page.databytecounts) for p in self.planes)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a TIFF; what is wrong with it becomes one line.

    Raises:
        InputError: not a TIFF, or damaged.
    """
    said: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    log = logging.getLogger("tifffile")
    log.addFilter(collect)
    try:
        with opening(path, "TIFF"), tifffile.TiffFile(path) as tif:
            if not tif.pages:
                raise InputError(f"{path} cannot be read as TIFF: no image in it")
            yield tif
            # The library only logs that pages are missing and goes on with those it found.
            if any("invalid page offset" in line for line in said):
                raise InputError(f"{path} is cut short: pages are missing from its end")
            if any("circular reference" in line for line in said):
                raise InputError(f"{path} is damaged: its list of pages runs back into itself, so pages may be missing")
    finally:
        log.removeFilter(collect)


def planes_of(path: Path, choice: Choice, name: str | None = None) -> tuple[Any, Sequence[Plane]]:
    """Open a file to read voxels from it; returns what must be closed, and the planes."""
    with opened(path) as tif:
        found = images(tif, path)
        stack = stack_of(tif, found, path, choice, single=True) if name is None else part_of(found, path, name)
        # Its handle is closed here, and opened anew by whoever reads first.
        return tif, stack.planes


def reopened(choice: Choice, name: str | None = None) -> Any:
    """Return the ``plan`` of :class:`napari_emsynth.io.tiff.pages.Pages`."""
    return partial(planes_of, choice=choice, name=name)


# ------------------------------------------------------------------------------- images of a file


def images(tif: Any, path: Path) -> list[Image]:
    """Return all images of a file.

    Raises:
        InputError: a page that belongs to none, or that cannot be read.
    """
    # Pages first, so that each is parsed once: series are made of those that are kept.
    pages = _all_pages(tif)
    series = tif.series
    if not series or series[0].kind in LOOSE:
        return _loose(list(pages.values()), path)
    found = [_image(s, i, path, pages) for i, s in enumerate(series)]
    used = {page.offset for s in series for level in s.levels for page in level.pages if page is not None}
    spare = [page for offset, page in pages.items() if offset not in used]
    # Plain bytes behind one page may be headed by further pages that nothing refers to.
    if spare and not any(len(s.pages) == 1 and s.dataoffset is not None for s in series):
        described = _loose(spare, path)
        found += [replace(image, index=len(found) + i) for i, image in enumerate(described)]
    return _as_one(found, tif)


def _all_pages(tif: Any) -> dict[int, Any]:
    """Return the pages of a file, each with tags of its own, by where they begin."""
    tif.pages.cache = True
    pages = (tif.pages.get(i, aspage=True, cache=True) for i in range(len(tif.pages)))
    return {page.offset: page for page in pages}


def _page(page: Any, tif: Any, known: Mapping[int, Any]) -> Any:
    """Return a page with tags of its own, not those of the first one."""
    if page is None or page.is_virtual:
        return page
    if page.parent is tif and page.offset in known:
        return known[page.offset]
    if page.parent.filehandle.closed:
        page.parent.filehandle.open()
    return page.aspage()


def _loose(pages: Sequence[Any], path: Path) -> list[Image]:
    """Return images of pages that nothing but their likeness holds together."""
    kinds: dict[Any, list[Any]] = {}
    for page in pages:
        _check_page(page, path)
        kinds.setdefault((_kind(page), bool(page.is_reduced)), []).append(page)
    found = []
    for index, alike in enumerate(kinds.values()):
        axes = _page_axes(alike[0])
        lead = (("I", len(alike)), *axes)
        found.append(Image("", index, lead, [p for page in alike for p in _planes(page, axes)], alike[0]))
    full = [image for image in found if not image.is_reduced]
    return [*full, *(image for image in found if image.is_reduced)] if full else found


def _page_axes(page: Any) -> tuple[tuple[str, int], ...]:
    """Return the axes within a page, rows and columns left out: its samples."""
    return ((SAMPLE, page.samplesperpixel),) if page.samplesperpixel > 1 else ()


def _planes(page: Any, axes: Sequence[tuple[str, int]] = ()) -> list[Plane]:
    """Return the planes of a page, one a sample."""
    if page is None:
        return [Plane(None)] * int(np.prod([n for _, n in axes], dtype=int))
    turn, _ = meaning(page)
    if page.samplesperpixel > 1:
        return [Plane(page, None, sample) for sample in range(page.samplesperpixel)]
    return [Plane(page, page.dataoffsets[0] if page.is_memmappable else None, 0, turn)]


def _kind(page: Any) -> tuple[Any, ...]:
    """Return what must be alike of all sections of a volume."""
    return page.imagelength, page.imagewidth, page.dtype.name, page.samplesperpixel


def _check_page(page: Any, path: Path) -> None:
    """Refuse a page that ends after its file does, or that nobody can decode.

    Raises:
        InputError: it is so.
    """
    where = f"{path}, page {page.index}"
    if page.dtype is None or not page.imagelength or not page.imagewidth:
        raise InputError(f"{where}: {page.bitspersample} bits of sample format {page.sampleformat} are no voxels")
    if page.imagedepth > 1:
        raise InputError(f"{where} is {page.imagedepth} voxels deep; save one section a page")
    ends = (o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends, default=0) > page.parent.filehandle.size:
        raise InputError(f"{where}: the file is cut short, the page is incomplete")
    rows, columns = page.tile if page.is_tiled else (page.rowsperstrip or page.imagelength, page.imagewidth)
    segments = -(-page.imagelength // rows) * -(-page.imagewidth // columns)
    segments *= page.samplesperpixel if page.planarconfig != 1 else 1
    if len(page.dataoffsets) != segments or len(page.databytecounts) != segments:
        raise InputError(
            f"{where} has {len(page.dataoffsets)} strips or tiles, {page.imagelength} x {page.imagewidth} pixels "
            f"take {segments}: damaged"
        )


def _image(series: Any, index: int, path: Path, known: Mapping[int, Any]) -> Image:
    """Return one series of a file that says what belongs together."""
    axes, shape = series.get_axes(False), series.get_shape(False)
    pages = [_page(page, series.parent, known) for page in series.pages]
    first = next((page for page in pages if page is not None), None)
    if first is None:
        raise InputError(f"{path} holds no page of its series {index}")
    lead = [(a, n) for a, n in zip(axes, shape, strict=True) if a not in "YX"]
    if lead and lead[-1][0] == SAMPLE and first.samplesperpixel == 1:
        lead.pop()  # tifffile gives a sample axis of length 1
    inside = _page_axes(first)
    if axes.rstrip(SAMPLE)[-2:] != "YX" or shape[axes.index("Y")] != first.imagelength:
        size = " x ".join(map(str, shape))
        raise InputError(f"{path} keeps its {size} values in pages that are no sections: save one section a page")
    for page in pages:
        if page is not None:
            _check_page(page, path)
    count = int(np.prod([n for _, n in lead], dtype=int))
    planes = [plane for page in pages for plane in _planes(page, inside)]
    if len(planes) == 1 < count and series.dataoffset is not None:
        step = first.imagelength * first.imagewidth * np.dtype(first.dtype).itemsize
        if series.dataoffset + count * step > first.parent.filehandle.size:
            raise InputError(f"{path} is cut short: it holds less than the {count} sections it states")
        planes = [replace(planes[0], offset=series.dataoffset + i * step) for i in range(count)]
    if len(planes) != count:
        raise InputError(f"{path} states {count} sections and holds {len(pages)} pages; save one section a page")
    levels = tuple(_image(level, index, path, known) for level in series.levels[1:])
    name = series.name if series.kind in ("ome", "shaped") else ""
    return Image(name, index, tuple(lead), planes, first, levels)


def _as_one(found: list[Image], tif: Any) -> list[Image]:
    """Return the sections of a file that was written one by one as the one image that they are."""
    alone = all(len(image.planes) == 1 and not image.is_reduced for image in found)
    if len(found) < 2 or tif.is_ome or not alone or len({_kind(image.first) for image in found}) > 1:
        return found
    return [replace(found[0], lead=(("I", len(found)),), planes=[image.planes[0] for image in found])]


# ---------------------------------------------------------------------------- the one that is read


def stack_of(tif: Any, found: Sequence[Image], path: Path, choice: Choice, *, single: bool = False) -> Stack:
    """Return the planes of the volume that is meant.

    Args:
        tif: the open file.
        found: its images.
        path: of it.
        choice: where it holds several.
        single: one section is a volume, too.

    Raises:
        ChoiceError: several images, channels or times, and none chosen.
        InputError: pages that differ, colour, one section only.
    """
    found = [image for image in found if not (image.index and image.name in MARKS)]
    full = [image for image in found if not image.is_reduced] or found
    notices = [] if single else _short(tif, path, sum(len(image.planes) for image in found))
    if choice.series is None and len(full) == 1:
        image = full[0]
        notices += [f"{path.name} also holds {other.words}: left out" for other in found if other is not image]
    else:
        image = found[choice.pick(path, "series", [i.words for i in found])]
    levels = (image, *image.levels)
    level = levels[choice.pick(path, "level", [i.words for i in levels])]
    return _volume(level, path, choice, notices, single=single)


def _short(tif: Any, path: Path, held: int) -> list[str]:
    """Return what to say of a file that holds fewer sections than ImageJ wrote into it.

    Raises:
        InputError: it holds one only.
    """
    stated = (tif.imagej_metadata or {}).get("images", 0) if tif.is_imagej else 0
    if not isinstance(stated, int) or stated <= held:
        return []
    if held == 1:
        raise InputError(f"{path} is cut short: it states {stated} sections and holds 1")
    return [f"{path.name} states {stated} sections and holds {held}: the others are missing"]


def part_of(found: Sequence[Image], path: Path, name: str) -> Stack:
    """Return the planes of the image called ``name``, a part of what is known of a volume.

    Raises:
        InputError: there is none.
    """
    for image in found:
        if image.index and image.name == name:
            return _volume(image, path, EVERYTHING, [], single=True)
    raise InputError(f"{path} holds no image called {name!r}")


def _volume(image: Image, path: Path, choice: Choice, notices: list[str], *, single: bool) -> Stack:
    lead: list[int] = []
    asked, order = {"channel", "time"}, np.arange(len(image.planes)).reshape([n for _, n in image.lead])
    stacked = [(a, n) for a, n in image.lead if n > 1]
    # A channel or a time that is chosen, or a colour, is no section.
    words = {CHANNEL: "channel", SAMPLE: "channel", TIME: "time"}
    many = {a: n for a, n in stacked if a != SAMPLE and (a not in words or getattr(choice, words[a]) is None)}
    if many.keys() == {CHANNEL, TIME}:
        choice.pick(path, "channel", [""] * many[CHANNEL])
    for axis, (name, count) in enumerate(image.lead):
        word = words.get(name)
        # Many programs write the sections of a stack as its channels or times.
        if word is None or many.keys() == {name}:
            if word is not None and count > 1:
                notices.append(f"the {count} {word}s of {path.name} are taken as its sections")
            lead.append(count)
            continue
        names = COLOURS.get(count, [""] * count) if name == SAMPLE else [""] * count
        order = np.take(order, [choice.pick(path, word, names)], axis)
        asked.discard(word)
        lead.append(1)
    for word in asked:
        choice.pick(path, word, [""])
    said = f"{path} has shape {(*(n for _, n in stacked), image.first.imagelength, image.first.imagewidth)}"
    if sum(n > 1 for n in lead) > 1:
        axes = "".join(name for name, n in stacked)
        raise InputError(f"{said} (axes {axes}YX), needs 3 axes z, y, x")
    planes = [image.planes[i] for i in order.ravel().tolist()]
    if len(planes) == 1 and not single:
        raise InputError(f"{said}, which is one section; a volume needs z, y, x")
    _check_alike(planes, path)
    if choice.labels:
        planes = [replace(plane, meaning=None) for plane in planes]
    shape = (len(planes), image.first.imagelength, image.first.imagewidth)
    stack = Stack(image, shape, np.dtype(image.first.dtype).newbyteorder("="), planes)
    if stack.missing:
        notices.append(f"section(s) {spans(stack.missing)} of {path.name} are not in the file: missing, not acquired")
    return replace(stack, notices=(*notices, *(() if choice.labels else _meanings(planes, path))))


def _check_alike(planes: Sequence[Plane], path: Path) -> None:
    """Refuse sections of different size or type.

    Raises:
        InputError: some differ; the line names the first.
    """
    pages = [plane.page for plane in planes if plane.page is not None]
    for page in pages:
        if _kind(page) != _kind(pages[0]):
            sizes = ["page {} is {} x {} {} with {} sample(s)".format(p.index, *_kind(p)) for p in (page, pages[0])]
            raise InputError(f"{path}: {sizes[0]}, {sizes[1]}; all sections must be alike")


def _meanings(planes: Sequence[Plane], path: Path) -> list[str]:
    """Return what is to be said of sections whose numbers are not plain intensities.

    Raises:
        InputError: some are intensities and others indices of colours.
    """
    pages = [plane.page for plane in planes if plane.page is not None]
    turns = {int(page.tags.valueof(ORIENTATION, UPRIGHT)) for page in pages}
    if len(turns) > 1:
        raise InputError(f"{path}: its sections state orientations {sorted(turns)}; turn them alike")
    meant = [(page, meaning(page)[1]) for page in pages]
    said = Counter(words for _, words in meant if words)
    maps = {page.colormap.tobytes() for page, words in meant if words == COLOURED}
    if COLOURED in said and (said[COLOURED] < len(pages) or len(maps) > 1):
        raise InputError(f"{path}: its sections have different colour maps; convert them to grey")
    whole = {len(pages): path.name}
    lines = [f"{whole.get(n, f'{n} of {len(pages)} sections of {path.name}')} {words}" for words, n in said.items()]
    lying = turns - {UPRIGHT}
    return lines + [f"{path.name} states orientation {turn}: pixels are kept as they are stored" for turn in lying]
