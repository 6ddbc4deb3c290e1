"""Writing OME-Zarr 0.5 (Zarr v3), block by block, in a way that survives a kill.

Layout: the volume's levels ``0``, ``1``, ...; the mask in ``labels/synthetic``; the uncertainty as an image
group of its own in ``uncertainty``; the provenance in the root's attribute ``emsynth``.

Laws: level 0 is bit-identical to the source; a block is noted in the journal after all its parts are on
disk; a block is never computed twice, across kills too; coarser levels keep voxel edges (their origin
shifts by half a voxel).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.grid import Grid, Shape
from napari_emsynth.io.atomic import Journal, Work
from napari_emsynth.io.content import MASKS, Block, Content, blocks
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import CancelToken, Progress
from napari_emsynth.volume import Array

CHUNK: Shape = (16, 256, 256)
# A row of chunks over a whole section may take this much: deeper chunks are cut when sections are large.
ROW_BYTES = 1 << 29
# In-memory and chunked sources are read in blocks of about this size.
BLOCK_BYTES = 1 << 26
# Coarser levels are added until a section fits this edge (px), or so many were added.
SMALLEST_EDGE = 256
MOST_LEVELS = 5
RGBA = {"synthetic": [255, 0, 255, 128], "empty": [128, 128, 128, 255]}


def write_zarr(content: Content, work: Work, progress: Progress, cancel: CancelToken | None, *, resume: bool) -> None:
    """Write (or finish writing) an OME-Zarr.

    Raises:
        InputError: told to resume another job's work.
        Cancelled: asked for between blocks; what is finished stays for ``resume``.
    """
    import zarr

    chunk = chunk_shape(content)
    plan = blocks(content.volume.shape, block_shape(content, chunk))
    job = content.fingerprint(chunk=chunk, blocks=len(plan))
    journal = Journal.resume(work.journal, job, work.target) if resume else None
    if journal is None:
        work.clear()
        root = zarr.create_group(store=str(work.data), zarr_format=3)
        for name in content.parts:
            _create(root, _place(name), content.volume.shape, chunk, content.dtype(name), name)
        journal = Journal.start(work.journal, job)
    root = zarr.open_group(store=str(work.data), mode="r+")
    arrays = {name: root[f"{_place(name)}0"] for name in content.parts}
    for number, block in enumerate(plan):
        if number not in journal.done:
            _check(cancel)
            for name, part in content.read(block).items():
                arrays[name][block] = part
            journal.add(number)
        progress(number + 1, len(plan), "blocks written")
    _finish(root, content, chunk, cancel)


def _check(cancel: CancelToken | None) -> None:
    if cancel is not None:
        cancel.check()


def _place(name: str) -> str:
    """Return the group of a part, with its slash; the volume's is the root."""
    return "" if name == "volume" else f"labels/{name}/" if name in MASKS else f"{name}/"


def _create(root: Any, group: str, shape: Shape, chunk: Shape, dtype: np.dtype[Any], name: str, level: int = 0) -> Any:
    """Make the array of one level; the mask's empty chunks are left out of the file."""
    return root.create_array(
        f"{group}{level}",
        shape=shape,
        chunks=tuple(min(c, n) for c, n in zip(chunk, shape, strict=True)),
        dtype=dtype,
        fill_value=0,
        dimension_names=["z", "y", "x"],
        overwrite=True,
        config={"write_empty_chunks": name == "volume"},
    )


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


@dataclass(frozen=True)
class Level:
    """One resolution: how many voxels of level 0 make one of its own, along z, y, x."""

    factors: Shape

    def shape(self, full: Shape) -> Shape:
        """Return its shape; a last partial voxel counts."""
        z, y, x = (math.ceil(n / f) for n, f in zip(full, self.factors, strict=True))
        return (z, y, x)


def levels(grid: Grid) -> list[Level]:
    """Return the resolutions to write: y and x halve, z too once it is no coarser than they are."""
    factors, out = (1, 1, 1), [Level((1, 1, 1))]
    vz, vy, vx = grid.voxel_nm or (math.inf, 1.0, 1.0)
    while len(out) <= MOST_LEVELS and max(out[-1].shape(grid.shape)[1:]) > SMALLEST_EDGE:
        fz, fy, fx = factors
        deeper = 2 if vz * fz < 1.5 * max(vy * fy, vx * fx) else 1
        factors = (fz * deeper, fy * 2, fx * 2)
        out.append(Level(factors))
    return out


def _finish(root: Any, content: Content, chunk: Shape, cancel: CancelToken | None) -> None:
    """Write coarser levels, then the metadata that makes the file an OME-Zarr."""
    grid = content.volume.grid
    for name in content.parts:
        for number, (fine, coarse) in enumerate(zip(levels(grid), levels(grid)[1:], strict=False), start=1):
            source = root[f"{_place(name)}{number - 1}"]
            target = _create(root, _place(name), coarse.shape(grid.shape), chunk, content.dtype(name), name, number)
            steps = tuple(c // f for c, f in zip(coarse.factors, fine.factors, strict=True))
            _coarsen(source, target, (steps[0], steps[1], steps[2]), any_is_one=name in MASKS, cancel=cancel)
    image = content.volume.name or "volume"
    for name in content.parts:
        ome: dict[str, Any] = {
            "version": "0.5",
            "multiscales": [_multiscale(image if name == "volume" else name, grid)],
        }
        if name in MASKS:
            ome["image-label"] = {
                "colors": [{"label-value": 1, "rgba": RGBA[name]}],
                "properties": [{"label-value": 1, "class": name}],
                "source": {"image": "../../"},
            }
            masks = [mask for mask in MASKS if mask in content.parts]
            root["labels"].attrs["ome"] = {"version": "0.5", "labels": masks}
        (root[_place(name).rstrip("/")] if _place(name) else root).attrs["ome"] = ome
    if content.provenance is not None:
        root.attrs["emsynth"] = content.provenance


def _coarsen(source: Any, target: Any, steps: Shape, *, any_is_one: bool, cancel: CancelToken | None) -> None:
    """Fill ``target`` with means of ``steps`` voxels of ``source``, or with their maximum for a mask."""
    z, y, x = target.chunks
    for block in blocks(target.shape, (z, 4 * y, 4 * x)):
        _check(cancel)
        finer = source[tuple(slice(b.start * s, b.stop * s) for b, s in zip(block, steps, strict=True))]
        target[block] = _reduced(finer, steps, block, any_is_one=any_is_one)


def _reduced(finer: Array, steps: Shape, block: Block, *, any_is_one: bool) -> Array:
    """Return [z, y, x] reduced by ``steps``; partial voxels at the far faces repeat the last one."""
    short = [(b.stop - b.start) * s - n for b, s, n in zip(block, steps, finer.shape, strict=True)]
    full = np.pad(finer, [(0, n) for n in short], mode="edge")
    z, y, x = (n // s for n, s in zip(full.shape, steps, strict=True))
    cells = full.reshape(z, steps[0], y, steps[1], x, steps[2])
    if any_is_one:
        return np.asarray(cells.max(axis=(1, 3, 5)))
    with np.errstate(all="ignore"):  # infinities of opposite sign make NaN
        return to_dtype(cells.mean(axis=(1, 3, 5), dtype=np.float64), finer.dtype)


def _multiscale(name: str, grid: Grid) -> dict[str, Any]:
    """Return the OME metadata of one image: axes, and scale and translation of every level."""
    voxel = grid.voxel_nm or (1.0, 1.0, 1.0)
    unit = {"unit": "nanometer"} if grid.voxel_nm else {}
    datasets = []
    for number, level in enumerate(levels(grid)):
        scale = [v * f for v, f in zip(voxel, level.factors, strict=True)]
        shift = [o + (s - v) / 2 for o, s, v in zip(grid.origin_nm, scale, voxel, strict=True)]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    axes = [{"name": a, "type": "space", **unit} for a in "zyx"]
    return {"name": name, "axes": axes, "datasets": datasets}
