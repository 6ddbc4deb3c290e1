"""Writing a patch: only the boxes that changed are read, computed and written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import UNCLAIMED, Claims, Work, undisturbed, working
from napari_emsynth.io.content import Block, Content, blocks, stable
from napari_emsynth.io.inputs import NO_INPUTS, Inputs
from napari_emsynth.io.output_checks import check_place
from napari_emsynth.io.patch.boxes import changed
from napari_emsynth.io.patch.patch import FORMAT, SUFFIX, boxes_to_json
from napari_emsynth.io.url import Url
from napari_emsynth.io.zarr.parts import create
from napari_emsynth.io.zarr.read import PATCH
from napari_emsynth.spec import CancelToken, Progress, Result, no_note, no_progress
from napari_emsynth.volume import Array, Volume

# What is computed and held at once, along z, y, x, and the chunks in which it is written.
EDGE = (1, 2048, 2048)
CHUNK = (1, 512, 512)


def check_patch_output(
    path: str | os.PathLike[str], source: str | os.PathLike[str] | Url | None, overwrite: bool, resume: bool = False
) -> None:
    """Refuse a patch that cannot or must not be written, before any work.

    Raises:
        InputError: a name without ``.patch.zarr``, a place that :func:`napari_emsynth.io.output_checks.check_place`
            refuses, or one that is to be resumed.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise InputError(f"cannot write the patch {path}: its name must end in {SUFFIX}")
    if resume:
        raise InputError(f"cannot resume {path}: a patch is written anew")
    check_place(path, source, overwrite, folder=True)


def write_patch(
    result: Result,
    source: Volume,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
    inputs: Inputs = NO_INPUTS,
    claims: Claims = UNCLAIMED,
    part: None = None,  # noqa: ARG001 - a patch is written whole
) -> Path:
    """Write what a result changed of a volume, with the voxels that it replaces.

    Args:
        result: of :func:`interpolate` or :func:`align`; a lazy one is computed only where something changed.
        source: the volume that it was made from.
        path: ends in ``.patch.zarr``.
        overwrite: replace what is there; it stays until the new one is complete.
        resume: refused: a patch is written anew.
        progress: called after every block.
        cancel: asked between blocks.
        note: told in one line what a user should know.
        inputs: files that the result was made from, as they were.
        claims: outputs that are held already.
        part: None: a patch is written whole.

    Returns:
        The path written.

    Raises:
        InputError: see :func:`check_patch_output`; the result lies on another grid; an input vanished or was changed.
        Cancelled: nothing is at ``path``.
    """
    path = Path(path)
    check_patch_output(path, source.metadata.get("path"), overwrite, resume)
    boxes = changed(result, source)
    content = Content.of(result, inputs)
    with working(path, claims, note) as work:
        check_patch_output(path, source.metadata.get("path"), overwrite, resume)
        with undisturbed():
            work.clear()
        _write(content, source, boxes, work, progress, cancel)
        content.inputs.check_unchanged(path)
        with undisturbed():
            work.publish()
    return path


def _write(
    content: Content, source: Volume, boxes: list[Block], work: Work, progress: Progress, cancel: CancelToken | None
) -> None:
    root = zarr.create_group(store=str(work.data), zarr_format=3)
    root.create_group("pieces")
    told = begun_digest(content.provenance)
    arrays = [_arrays(root, number, box, content) for number, box in enumerate(boxes)]
    plan = [(number, box, part) for number, box in enumerate(boxes) for part in within(box)]
    for done, (number, box, part) in enumerate(plan):
        if cancel is not None:
            cancel.check()
        found = content.read(part)
        found = {"old": source.read(*part), "new": found.pop("volume"), **found}
        at = relative(part, box)
        add_block(told, part, found)
        for name, voxels in found.items():
            with undisturbed():
                arrays[number][name][at] = voxels
        progress(done + 1, len(plan), "blocks of the patch written")
    root.attrs[PATCH] = _said(content, source, boxes, told.hexdigest())


def _arrays(root: Any, number: int, box: Block, content: Content) -> dict[str, Any]:
    """Return new arrays for one box."""
    z, y, x = (cut.stop - cut.start for cut in box)
    types = {"old": content.volume.dtype, "new": content.volume.dtype}
    types |= {name: content.dtype(name) for name in content.parts if name != "volume"}
    return {
        name: create(root, f"pieces/{number}/{name}", (z, y, x), CHUNK, dtype, sparse=name not in ("old", "new"))
        for name, dtype in types.items()
    }


def _said(content: Content, source: Volume, boxes: list[Block], digest: str) -> dict[str, Any]:
    grid = source.grid
    return {
        "format": FORMAT,
        "id": digest,
        "name": source.name,
        "shape": list(grid.shape),
        "dtype": str(source.dtype),
        "voxel_nm": None if grid.voxel_nm is None else list(grid.voxel_nm),
        "origin_nm": list(grid.origin_nm),
        "boxes": boxes_to_json(boxes),
        "record": content.provenance,
    }


def begun_digest(record: Any) -> Any:
    """Return the digest of a patch, to which its blocks are added in order."""
    return hashlib.blake2b(json.dumps(stable(record), sort_keys=True).encode(), digest_size=8)


def add_block(digest: Any, part: Block, found: Mapping[str, Array]) -> None:
    """Add a block of a patch to its digest."""
    digest.update(repr(boxes_to_json([part])).encode())
    for name in sorted(found):
        digest.update(np.ascontiguousarray(found[name]).tobytes())


def within(box: Block, edge: tuple[int, int, int] = EDGE, at: tuple[int, int, int] | None = None) -> Iterator[Block]:
    """Yield the parts of a box, in order.

    Args:
        box: of a volume.
        edge: of a part, at most.
        at: cuts fall on multiples of ``edge`` from here; None for the box's own corner.
    """
    corner = tuple(cut.start for cut in box) if at is None else at
    lows = [cut.start - (cut.start - zero) % n for cut, zero, n in zip(box, corner, edge, strict=True)]
    z, y, x = (cut.stop - low for cut, low in zip(box, lows, strict=True))
    for part in blocks((z, y, x), edge):
        cuts = [slice(max(p.start + low, cut.start), p.stop + low) for p, low, cut in zip(part, lows, box, strict=True)]
        yield cuts[0], cuts[1], cuts[2]


def relative(part: Block, box: Block) -> Block:
    """Return a part of a volume as a part of a box of it."""
    cuts = [slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True)]
    return cuts[0], cuts[1], cuts[2]
