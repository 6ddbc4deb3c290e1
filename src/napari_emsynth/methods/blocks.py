"""A new volume drawn block by block: at once for volumes in memory, as it is read for lazy ones.

A task gives a ``draw(box, runtime) -> [z, y, x]`` that can draw any box of the new volume, or of several volumes on one
grid, together. Laws: the voxels of a box do not depend on the box it is part of, so that eager equals lazy; a lazy
volume computes only the blocks that are read; a block of a volume is read once for what it shows and a halo around it;
volumes that are drawn together share their computation wherever they are read together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.grid import Shape
from napari_emsynth.methods.request import portable
from napari_emsynth.methods.working import working
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime, no_progress
from napari_emsynth.trust.intact import left_out
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.remembered import of_the_whole
from napari_emsynth.trust.serving import FRINGE, nearest_first, served
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Float, Volume

Box = tuple[slice, slice, slice]

# Blocks of a volume in memory: halos cost little in large ones, and a cancel waits for a tile, not for a block.
EAGER_BLOCK: Shape = (128, 512, 512)
# Blocks of a lazy volume are this large along y and x. Along z they are multiples of STEP, if possible twice as deep as
# the halo: deeper ones waste less on halos, but a viewer that shows one section computes a layer of them.
LAZY_EDGE = 512
STEP, DEEPEST = 16, 64
# A layer of lazy blocks over whole large sections, with its mask, is at most this large, unless it is SHALLOWEST
# sections: what a TIFF is written in, so that no block is drawn twice.
LAYER_BYTES = 1 << 30
SHALLOWEST = 4
# Blocks are read from multiples of this on, so that a network with strides sees the same phase in every block.
PHASE: Shape = (1, 16, 16)
# The statistics of a volume come from so many sections, spread over it, and from their middle.
SAMPLED_SECTIONS, SAMPLED_EDGE = 16, 2048
# Grey levels stray when mean or deviation is off the others' by this share of a deviation, and by so many median ones.
STRAY, STRAY_DEVIATIONS = 0.2, 4.0
# Sections on each side that may serve where one is empty.
SERVING = 4
# Progress is reported in this many parts a block, so that tiles inside a block show.
PARTS = 100


class Draw(Protocol):
    """Draws any box of a new volume; can be pickled."""

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of ``box``, in the volume's dtype."""


class DrawTogether(Protocol):
    """Draws any box of several new volumes on one grid; can be pickled."""

    def __call__(self, box: Box, runtime: Runtime) -> tuple[Array, ...]:
        """Return [z, y, x] voxels of ``box`` of every volume, in its dtype."""


@dataclass(frozen=True)
class Alone:
    """One new volume, drawn as several are."""

    draw: Draw

    def __call__(self, box: Box, runtime: Runtime) -> tuple[Array]:
        """Return [z, y, x] voxels of ``box`` of the one volume."""
        return (self.draw(box, runtime),)


@dataclass(frozen=True)
class Cut:
    """How new volumes are cut into blocks, where the usual blocks will not do.

    Args:
        edge: of a block along z, y, x.
        coarser: of each volume, how many pixels of a box one of its own is, along y and x; a divisor of the edges.
    """

    edge: Shape
    coarser: tuple[int, ...]

    def part(self, box: Box, i: int) -> Box:
        """Return where a box lies in volume ``i``."""
        z, *lateral = box
        y, x = (slice(s.start // self.coarser[i], s.stop // self.coarser[i]) for s in lateral)
        return z, y, x

    def shape(self, shape: Shape, i: int) -> Shape:
        """Return the shape of volume ``i``."""
        z, y, x = shape
        return z, y // self.coarser[i], x // self.coarser[i]


# ---------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Padded:
    """A block of a volume, read with a halo.

    Args:
        values: [z, y, x] normalised float32, tissue throughout, see :func:`read_padded`.
        start: position in the volume of its first voxel.
        empty: [z, y, x] True where nothing was acquired; None where everything was.
    """

    values: Float
    start: Shape
    empty: Mask | None

    def inside(self, box: Box) -> Box:
        """Return where a box of the volume lies in the block."""
        z, y, x = (slice(b.start - s, b.stop - s) for b, s in zip(box, self.start, strict=True))
        return z, y, x


def read_padded(volume: Volume, box: Box, halo: Sequence[int], norm: Normalisation) -> Padded:
    """Read a box with a halo, clipped to the volume.

    Where a voxel is empty the nearest section shows that is not, among :data:`SERVING` on each side; where there is
    none tissue is continued (:func:`~napari_emsynth.trust.serving.served`).

    Args:
        volume: [z, y, x].
        box: inside the volume.
        halo: voxels more on both sides, along z, y, x.
        norm: of the whole volume.
    """
    read = tuple(
        slice(max(0, (b.start - h) // p * p), min(n, b.stop + h))
        for b, h, p, n in zip(box, halo, PHASE, volume.shape, strict=True)
    )
    values = volume.read(*read)
    empty = Emptiness(volume).block(values, *read)
    z, y, x = (s.start for s in read)
    if empty is None:
        return Padded(norm.forward(values), (z, y, x), None)
    return Padded(_tissue(volume, (read[0], read[1], read[2]), norm), (z, y, x), empty)


def _tissue(volume: Volume, read: Box, norm: Normalisation) -> Float:
    """Return a box [z, y, x], normalised, of which some is empty: what is near says what it shows there."""
    more = (SERVING, FRINGE, FRINGE)
    z, y, x = (slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(read, more, volume.shape, strict=True))
    voxels = volume.read(z, y, x)
    masks = [Emptiness(volume).section(k, y, x, p) for k, p in zip(range(z.start, z.stop), voxels, strict=True)]
    images = dict(enumerate(norm.forward(voxels), start=z.start))
    wanted = range(read[0].start, read[0].stop)
    empty = dict(enumerate(masks, start=z.start))
    drawn = served(images, empty, lambda k: nearest_first(k, images, SERVING), of=wanted)
    inner = tuple(slice(r.start - a.start, r.stop - a.start) for r, a in zip(read[1:], (y, x), strict=True))
    return np.stack([drawn[k][inner] for k in wanted])


def statistics(volume: Volume, runtime: Runtime = Runtime(), without: Collection[int] = ()) -> Normalisation:
    """Return one normalisation for a whole volume, from a few of its sections; the same for eager and lazy.

    What is empty has no say. Sections without structure (blank, or empty throughout) have none, nor have damaged ones,
    unless there are no others.

    Args:
        volume: [z, y, x].
        runtime: asked whether to go on where damage has to be looked for.
        without: sections that are known to be damaged.
    """
    key = tuple(sorted(without))
    return of_the_whole(volume, "normalisation", key, lambda: _statistics(volume, runtime, without))


def _statistics(volume: Volume, runtime: Runtime, without: Collection[int]) -> Normalisation:
    count, height, width = volume.shape
    y, x = middle(height, SAMPLED_EDGE), middle(width, SAMPLED_EDGE)
    sections = {z: volume.section(z, y, x) for z in spread(count, SAMPLED_SECTIONS, without)}
    empty = {z: Emptiness(volume).section(z, y, x, s) for z, s in sections.items()}
    sections = {z: s for z, s in sections.items() if _varied(s, empty[z])} or sections
    norms = {z: Normalisation.of_section(s, empty[z]) for z, s in sections.items()}
    means, stds = np.array([(n.mean, n.std) for n in _undamaged(volume, norms, runtime)]).T
    return Normalisation(float(means.mean()), float(np.sqrt((stds**2).mean() + means.var())), volume.dtype)


def _undamaged(volume: Volume, norms: Mapping[int, Normalisation], runtime: Runtime) -> list[Normalisation]:
    """Return the statistics of sections that are not damaged.

    Damage is told by a section's neighbours, of which there are many; so it is looked for where grey levels stray.
    """
    means, stds = np.array([(n.mean, n.std) for n in norms.values()]).T
    doubtful = [z for z, stray in zip(norms, _strays(means, stds) | _strays(stds, stds), strict=True) if stray]
    if not doubtful:
        return list(norms.values())
    found = left_out(volume, doubtful, runtime=replace(runtime, progress=no_progress))
    return [n for z, n in norms.items() if z not in found] or list(norms.values())


def _strays(values: NDArray[np.float64], stds: NDArray[np.float64]) -> NDArray[np.bool_]:
    away = np.abs(values - np.median(values))
    limit = max(STRAY * float(np.median(stds)), STRAY_DEVIATIONS * 1.4826 * float(np.median(away)))
    return np.asarray(away > limit)


def spread(count: int, most: int, without: Collection[int] = ()) -> list[int]:
    """Return sections spread evenly over a stack, in order.

    Args:
        count: of the stack.
        most: sections to return.
        without: sections for which the nearest others stand in; as long as there are others.
    """
    wanted = [int(z) for z in np.unique(np.linspace(0, count - 1, min(count, most)).round())]
    usable = [z for z in range(count) if z not in without] if without else []
    return sorted({min(usable, key=lambda z: abs(z - w)) for w in wanted}) if usable else wanted


def middle(length: int, edge: int) -> slice:
    """Return the middle of an axis, at most ``edge`` long."""
    start = max(0, (length - edge) // 2)
    return slice(start, min(length, start + edge))


def _varied(section: Array, empty: Mask | None) -> bool:
    known = section if empty is None else section[~empty]
    return bool(known.size and known.min() != known.max())


# ---------------------------------------------------------------------------------- drawing


def boxes(shape: Shape, edge: Shape) -> list[Box]:
    """Cut a shape into boxes of ``edge``, in z, y, x order; the last ones are smaller."""
    cuts = [[slice(i, min(i + e, n)) for i in range(0, n, e)] for n, e in zip(shape, edge, strict=True)]
    return [(z, y, x) for z, y, x in product(*cuts)]


def eager(draw: Draw, shape: Shape, dtype: np.dtype[Any], runtime: Runtime, what: str) -> Array:
    """Draw a whole volume now, see :func:`eager_together`."""
    return eager_together(Alone(draw), shape, (dtype,), runtime, what)[0]


def eager_together(
    draw: DrawTogether,
    shape: Shape,
    dtypes: Sequence[np.dtype[Any]],
    runtime: Runtime,
    what: str,
    cut: Cut | None = None,
) -> tuple[Array, ...]:
    """Draw whole volumes now.

    Args:
        draw: any box of them.
        shape: of each new volume.
        dtypes: of their voxels.
        runtime: told of every tile, asked between them whether to go on.
        what: is being done, for the progress.
        cut: into other blocks than the usual.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    cut = cut or Cut(EAGER_BLOCK, (1,) * len(dtypes))
    volumes = tuple(np.empty(cut.shape(shape, i), dtype) for i, dtype in enumerate(dtypes))
    work = boxes(shape, cut.edge)
    for done, box in enumerate(work):
        runtime.cancel.check()
        runtime.progress(PARTS * done, PARTS * len(work), what)
        drawn = draw(box, _part(runtime, done, len(work), what))
        for i, (volume, part) in enumerate(zip(volumes, drawn, strict=True)):
            volume[cut.part(box, i)] = part
    runtime.progress(PARTS * len(work), PARTS * len(work), what)
    return volumes


def _part(runtime: Runtime, done: int, total: int, what: str) -> Runtime:
    """Map the engine's progress in one block to its share of the job."""

    def progress(tiles: int, of: int, _: str) -> None:
        runtime.progress(PARTS * done + PARTS * tiles // max(of, 1), PARTS * total, what)

    return replace(runtime, progress=progress)


def lazy(draw: Draw, shape: Shape, dtype: np.dtype[Any], runtime: Runtime, halo: float) -> Any:
    """Return a dask array whose blocks are drawn when they are read, see :func:`lazy_together`."""
    return lazy_together(Alone(draw), shape, (dtype,), runtime, halo)[0]


def lazy_together(
    draw: DrawTogether,
    shape: Shape,
    dtypes: Sequence[np.dtype[Any]],
    runtime: Runtime,
    halo: float,
    cut: Cut | None = None,
) -> tuple[Any, ...]:
    """Return dask arrays whose blocks are drawn when they are read; those that are read together, once.

    Args:
        draw: any box of them.
        shape: of each new volume.
        dtypes: of their voxels.
        runtime: asked whether to go on.
        halo: sections of the new volumes that a block is read with on both sides.
        cut: into other blocks than the usual.
    """
    import dask.array as da

    if cut is None:
        depth = lazy_depth(shape, sum(dtype.itemsize for dtype in dtypes) + 1, halo)
        cut = Cut((depth, LAZY_EDGE, LAZY_EDGE), (1,) * len(dtypes))
    chunks = [tuple(min(e, n - i) for i in range(0, n, e)) for n, e in zip(shape, cut.edge, strict=True)]
    drawn = da.map_blocks(
        _DrawBlock(draw, replace(runtime, progress=no_progress)),
        chunks=tuple(chunks),
        dtype=object,
        meta=np.empty((0, 0, 0), object),
        name=f"draw-{uuid4().hex}",
    )
    return tuple(
        drawn.map_blocks(
            itemgetter(i),
            chunks=(chunks[0], *(tuple(n // coarser for n in sizes) for sizes in chunks[1:])),
            dtype=dtype,
            meta=np.empty((0, 0, 0), dtype),
            name=f"{drawn.name}-{i}",
        )
        for i, (dtype, coarser) in enumerate(zip(dtypes, cut.coarser, strict=True))
    )


def lazy_depth(shape: Shape, voxel_bytes: int, halo: float) -> int:
    """Return how many sections a lazy block holds; ``voxel_bytes`` counts volumes and mask."""
    depth = STEP * min(DEEPEST // STEP, max(1, math.ceil(2 * halo / STEP)))
    while depth > SHALLOWEST and depth * shape[1] * shape[2] * voxel_bytes > LAYER_BYTES:
        depth //= 2
    return depth


def mask(made_up: Sequence[bool], like: Any) -> Any:
    """Return the synthetic mask [z, y, x] uint8 of whole sections that were made up or not, lazy like ``like``."""
    flags = np.asarray(made_up, np.uint8)[:, None, None]
    if isinstance(like, np.ndarray):
        return np.ascontiguousarray(np.broadcast_to(flags, like.shape))
    import dask.array as da

    z, y, x = like.chunks
    return da.broadcast_to(da.from_array(flags, chunks=(z, 1, 1)), like.shape, chunks=(z, y, x))


class _DrawBlock:
    """Draws the blocks that dask asks for, one of every volume.

    No dataclass: dask would look for its own arrays inside, find the source volume, and compute it.
    """

    def __init__(self, draw: DrawTogether, runtime: Runtime) -> None:
        self.draw, self.runtime = draw, runtime

    def __getstate__(self) -> dict[str, Any]:
        return {"draw": self.draw, "runtime": portable(self.runtime)}

    def __call__(self, block_info: Any = None) -> tuple[Array, ...]:
        z, y, x = (slice(int(a), int(b)) for a, b in block_info[None]["array-location"])
        with working((y.stop - y.start) * (x.stop - x.start)):
            return self.draw((z, y, x), self.runtime)
