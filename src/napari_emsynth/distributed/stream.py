"""Lazy arrays whose blocks a cluster computes ahead of whoever reads them in order.

A writer asks for one block after another, which would keep one worker busy. Here the next blocks that cost
something are under way already, so that all workers compute while the writer writes. Blocks without a
made-up section are only a copy: they are read here and never travel.

Laws: a block's voxels equal the lazy array's; the parts of a result (volume, mask, uncertainty) are computed
together, once; no more blocks are held than those asked for and ``depth`` more.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from napari_emsynth.io.content import culled
from napari_emsynth.spec import Result
from napari_emsynth.volume import Array, Volume

# Blocks under way for every worker thread: one being computed, one waiting.
PER_THREAD = 2


class Ahead:
    """Blocks under way on a cluster.

    Args:
        parts: dask arrays [z, y, x] of one shape and one set of chunks.
        client: ``distributed.Client`` of the cluster.
        depth: blocks to have under way beyond the last one asked for.
        made: sections that cost computing; blocks without any are read in this process.
    """

    def __init__(self, parts: list[Any], client: Any, depth: int, made: Collection[int]) -> None:
        self.parts, self._client, self._depth = parts, client, depth
        self.order = list(itertools.product(*(range(n) for n in parts[0].numblocks)))
        self.rank = {block: rank for rank, block in enumerate(self.order)}
        self.starts = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in parts[0].chunks]
        layers = {int(np.searchsorted(self.starts[0], z, side="right")) - 1 for z in made}
        self._costly = [rank for rank, block in enumerate(self.order) if block[0] in layers]
        self._under_way: dict[int, list[Any]] = {}

    def want(self, ranks: list[int]) -> None:
        """Start what is wanted and what comes next; let go of everything else."""
        first, last = ranks[0], ranks[-1]
        following = [rank for rank in self._costly if rank > last][: self._depth]
        keep = {rank for rank in self._costly if first <= rank <= last}.intersection(ranks) | {*following}
        self._under_way = {rank: futures for rank, futures in self._under_way.items() if rank in keep}
        for rank in sorted(keep - self._under_way.keys()):
            # One graph for all parts: what they share is computed once, and no more than that travels.
            blocks = culled({str(k): part.blocks[self.order[rank]] for k, part in enumerate(self.parts)})
            self._under_way[rank] = self._client.compute(list(blocks.values()))

    def block(self, rank: int, part: int) -> Array:
        """Return one block of one part, waiting for it."""
        if rank in self._under_way:
            return np.asarray(self._under_way[rank][part].result())
        return np.asarray(self.parts[part].blocks[self.order[rank]].compute(scheduler="synchronous"))


class Streamed:
    """[z, y, x] One part of a result, to be read in order.

    Args:
        ahead: what computes its blocks.
        part: which one it is of those that are computed together.
        chunks: how it says it is cut: as where it is computed in this process, so that it is written in the same
            blocks.
    """

    def __init__(self, ahead: Ahead, part: int, chunks: tuple[tuple[int, ...], ...] | None = None) -> None:
        lazy = ahead.parts[part]
        self.shape: tuple[int, ...] = lazy.shape
        self.dtype: np.dtype[Any] = lazy.dtype
        self.chunks: tuple[tuple[int, ...], ...] = chunks or lazy.chunks
        self._ahead, self._part = ahead, part

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> Array:
        given = key if isinstance(key, tuple) else (key,)
        slices = (*given, *(slice(None),) * (self.ndim - len(given)))
        box = [range(*s.indices(n)) for s, n in zip(slices, self.shape, strict=True)]
        out = np.empty([len(r) for r in box], self.dtype)
        ranks = self._ranks(box) if out.size else []
        if ranks:
            self._ahead.want(ranks)
        for rank in ranks:
            inside, place = self._overlap(rank, box)
            out[place] = self._ahead.block(rank, self._part)[inside]
        return out

    def _ranks(self, box: list[range]) -> list[int]:
        """Return the blocks that a box touches, in reading order."""
        spans = []
        for wanted, starts in zip(box, self._ahead.starts, strict=True):
            first, last = (int(np.searchsorted(starts, at, side="right")) - 1 for at in (wanted[0], wanted[-1]))
            spans.append(range(first, last + 1))
        return sorted(self._ahead.rank[block] for block in itertools.product(*spans))

    def _overlap(self, rank: int, box: list[range]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return where a block's voxels in the box lie: within the block, and within the box."""
        inside, place = [], []
        for index, wanted, starts in zip(self._ahead.order[rank], box, self._ahead.starts, strict=True):
            origin = int(starts[index])
            low, high = max(origin, wanted.start), min(int(starts[index + 1]), wanted.stop)
            inside.append(slice(low - origin, high - origin))
            place.append(slice(low - wanted.start, high - wanted.start))
        return tuple(inside), tuple(place)


def on_cluster(result: Result, client: Any) -> Result:
    """Return ``result`` with its lazy parts computed by the cluster as they are read.

    Parts in memory stay as they are. Which sections cost something is what the provenance says was made.
    """
    named = {"volume": result.volume, "synthetic": result.synthetic, "uncertainty": result.uncertainty}
    lazy = {name: part for name, part in named.items() if part is not None and hasattr(part.data, "dask")}
    if not lazy:
        return result
    chunks = next(iter(lazy.values())).data.chunks
    depth = PER_THREAD * max(1, sum(client.nthreads().values()))
    made = {entry["section"] for entry in result.provenance["sections"]}
    ahead = Ahead([part.data.rechunk(chunks) for part in lazy.values()], client, depth, made)

    def placed(name: str, part: Volume) -> Volume:
        return replace(part, data=Streamed(ahead, list(lazy).index(name), part.data.chunks)) if name in lazy else part

    return replace(
        result,
        volume=placed("volume", result.volume),
        synthetic=placed("synthetic", result.synthetic),
        uncertainty=None if result.uncertainty is None else placed("uncertainty", result.uncertainty),
    )
