"""Writing OME-Zarr 0.5 (Zarr v3), block by block, in a way that survives a kill.

Layout: the volume's levels ``0``, ``1``, ...; the mask in ``labels/synthetic``; the uncertainty as an image
group of its own in ``uncertainty``; the provenance in the root's attribute ``emsynth``.

Laws: level 0 is bit-identical to the source; a block is noted in the journal, with a digest of its voxels, after all
its parts are on the disk for good; a block that reads back as it was noted is never computed twice, across kills too,
and one that does not is computed again; coarser levels keep voxel edges (their origin shifts by half a voxel), and show
no id of labels that level 0 does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_emsynth.grid import Shape
from napari_emsynth.io.atomic import Journal, Part, Work, digest, sync_files, sync_tree, undisturbed
from napari_emsynth.io.content import MASKS, Block, Content, blocks
from napari_emsynth.io.zarr.levels import coarsen, levels, reduction_of
from napari_emsynth.io.zarr.parts import create, fitting, group_of, image_metadata, label_list, shard_shape, stored_keys
from napari_emsynth.spec import CancelToken, Progress
from napari_emsynth.volume import Array

CHUNK: Shape = (16, 256, 256)
# A row of chunks over a whole section may take this much: deeper chunks are cut when sections are large.
ROW_BYTES = 1 << 29
# In-memory and chunked sources are read in blocks of about this size.
BLOCK_BYTES = 1 << 26


def write_zarr(
    content: Content,
    work: Work,
    progress: Progress,
    cancel: CancelToken | None,
    *,
    resume: bool,
    part: Part | None = None,
) -> bool:
    """Write (or finish writing) an OME-Zarr, or a part of it.

    Args:
        content: what is written.
        work: where.
        progress: called after every block.
        cancel: asked between blocks.
        resume: go on with what a stopped job left.
        part: which part, of how many, others being done elsewhere; None for all of it.

    Returns:
        Whether it is complete; of a part, whether this was the last one.

    Raises:
        InputError: told to resume another job's work.
        Cancelled: asked for between blocks; what is finished stays for ``resume``.
    """
    chunk = chunk_shape(content)
    # One process at a time writes a file: blocks are made of whole ones.
    plan = blocks(content.volume.shape, block_shape(content, shard_shape(content.volume.shape, chunk) or chunk))
    job = content.fingerprint(chunk=chunk, blocks=len(plan))
    if part is None:
        arrays, journal = _start(content, work, chunk, job, len(plan), resume=resume)
        mine = range(len(plan))
    else:
        with work.beginning():
            arrays, whole = _start(content, work, chunk, job, len(plan), resume=True)
        path = work.folder / f"journal.{part[0]}-{part[1]}"
        journal = Journal.resume(path, job, len(plan), work.target, work.note) or Journal.start(path, job, len(plan))
        journal.done |= whole.done
        mine = share(len(plan), part)
    spoiled = 0
    for done, number in enumerate(mine, start=1):
        _check(cancel)
        block, known = plan[number], journal.done.get(number)
        if known is None or known != _there(arrays, block):
            spoiled += known is not None
            found = content.read(block)
            with undisturbed():
                _write(arrays, block, found, work.data)
                journal.add(number, digest(*found.values()))
        progress(done, len(mine), "blocks written")
    if spoiled:
        work.note(f"{spoiled} finished blocks of the unfinished {work.target.name} were damaged: computed again")
    if part is not None and not (work.alone() and len(work.finished(job, len(plan)) | whole.done) == len(plan)):
        return False
    _finish(work, content, chunk, cancel)
    return True


def share(blocks: int, part: Part) -> range:
    """Return which blocks a part of a job does: adjacent ones, as many as any other part, give or take one."""
    number, count = part
    return range(blocks * number // count, blocks * (number + 1) // count)


def _start(
    content: Content, work: Work, chunk: Shape, job: str, count: int, *, resume: bool
) -> tuple[dict[str, Any], Journal]:
    """Return the arrays to write into and the journal, as they were left or new."""
    journal = work.resume(job, count) if resume else None
    arrays = None if journal is None else _found(content, work, chunk)
    if journal is None or arrays is None:
        with undisturbed():
            work.clear()
            arrays = _begun(content, work, chunk)
            journal = work.start(job, count)
    return arrays, journal


def _begun(content: Content, work: Work, chunk: Shape) -> dict[str, Any]:
    """Return new arrays for the parts."""
    import zarr

    root = zarr.create_group(store=str(work.data), zarr_format=3)
    for name in content.parts:
        create(
            root,
            f"{group_of(name)}0",
            content.volume.shape,
            chunk,
            content.dtype(name),
            sparse=name != "volume",
            sharded=True,
        )
    sync_tree(work.data)
    return _opened(content, work)


def _found(content: Content, work: Work, chunk: Shape) -> dict[str, Any] | None:
    """Return the arrays that a stopped job left; None, said in one line, when they are damaged."""
    try:
        arrays = _opened(content, work)
    except (OSError, ValueError, KeyError, TypeError):
        arrays = {}
    wanted = {name: (content.volume.shape, fitting(chunk, content.volume.shape), content.dtype(name))
              for name in content.parts}  # fmt: skip
    if {name: (array.shape, array.chunks, array.dtype) for name, array in arrays.items()} == wanted:
        return arrays
    work.note(f"the unfinished {work.target.name} is damaged: all of it is computed again")
    return None


def _opened(content: Content, work: Work) -> dict[str, Any]:
    import zarr

    root = zarr.open_group(store=str(work.data), mode="r+")
    for name in content.parts:  # groups that are damaged are found now, not at the end
        for group in Path(group_of(name), "0").parents[:-1]:
            root[group.as_posix()]
    return {name: root[f"{group_of(name)}0"] for name in content.parts}


def _there(arrays: Mapping[str, Any], block: Block) -> str | None:
    """Return the digest of a finished block as it is read back; None when it cannot be read."""
    try:
        return digest(*(array[block] for array in arrays.values()))
    except (OSError, ValueError, RuntimeError, KeyError):
        return None


def _write(arrays: Mapping[str, Any], block: Block, found: Mapping[str, Array], root: Path) -> None:
    """Put a block of every part on the disk for good."""
    files: list[Path] = []
    for name, part in found.items():
        arrays[name][block] = part
        files += [root / key for key in stored_keys(arrays[name], block)]
    sync_files(files, root)


def _check(cancel: CancelToken | None) -> None:
    if cancel is not None:
        cancel.check()


# -------------------------------------------------------------------------------- chunks and blocks


def chunk_shape(content: Content) -> Shape:
    """Return the chunks to write: shallower when whole sections must be computed at once and are large."""
    row = content.volume.shape[1] * content.volume.shape[2] * content.voxel_bytes
    depth = CHUNK[0]
    if content.source_chunks():
        while depth > 1 and depth * row > ROW_BYTES:
            depth //= 2
    z, y, x = content.volume.shape
    return (min(depth, z), min(CHUNK[1], y), min(CHUNK[2], x))


def block_shape(content: Content, chunk: Shape) -> Shape:
    """Return the blocks in which to compute: whole chunks to write, and whole chunks of a lazy source.

    A source chunk that two blocks share would be computed twice.
    """
    edge = list(chunk)
    shape = content.volume.shape
    for cuts in content.source_chunks():
        for axis, sizes in enumerate(cuts):
            edge[axis] = max(edge[axis], _covering(sizes, chunk[axis], shape[axis], whole=axis > 0))
    # Copies go in larger blocks; work stays in small ones, which a cancel or a kill loses less of.
    for axis in () if content.is_computed else (2, 1, 0):
        while edge[axis] < shape[axis] and 2 * math.prod(edge) * content.voxel_bytes <= BLOCK_BYTES:
            edge[axis] *= 2
    return (edge[0], edge[1], edge[2])


def _covering(sizes: tuple[int, ...], chunk: int, length: int, *, whole: bool) -> int:
    """Return a multiple of ``chunk`` that falls on the source's cuts, or the axis when ``whole``."""
    regular = len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0]
    edge = math.lcm(sizes[0], chunk)
    if regular and edge <= max(4 * chunk, sizes[0]):
        return edge
    return length if whole else chunk * math.ceil(max(sizes) / chunk)


# ------------------------------------------------------------------------------ levels and metadata


def _finish(work: Work, content: Content, chunk: Shape, cancel: CancelToken | None) -> None:
    """Write coarser levels, then the metadata that makes the file an OME-Zarr."""
    import zarr

    root, grid = zarr.open_group(store=str(work.data), mode="r+"), content.volume.grid
    for name in content.parts:
        for number, (fine, coarse) in enumerate(zip(levels(grid), levels(grid)[1:], strict=False), start=1):
            source = root[f"{group_of(name)}{number - 1}"]
            target = create(
                root, f"{group_of(name)}{number}", coarse.shape(grid.shape), chunk, content.dtype(name),
                sparse=name != "volume", sharded=True,
            )  # fmt: skip
            steps = tuple(c // f for c, f in zip(coarse.factors, fine.factors, strict=True))
            coarsen(
                source, target, (steps[0], steps[1], steps[2]), reduction_of(name, labels=content.volume.labels), cancel
            )
    for name in content.parts:
        image = (content.volume.name or "volume") if name == "volume" else name
        metadata = image_metadata(image, grid, mask=name in MASKS, labels=name == "volume" and content.volume.labels)
        (root[group_of(name).rstrip("/")] if group_of(name) else root).attrs.update(metadata)
    if masks := [mask for mask in MASKS if mask in content.parts]:
        root["labels"].attrs.update(label_list(masks))
    if content.provenance is not None:
        root.attrs["emsynth"] = content.provenance
