"""What goes into a file, read block by block.

Laws: the arrays of one result are computed together, so that work they share is done once; nothing larger
than a block is held; two contents with the same :meth:`Content.fingerprint` are the same job, and everything that a
block depends on has a say in it; how many processes compute has none.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_emsynth.chain import marked
from napari_emsynth.errors import InputError
from napari_emsynth.grid import Shape
from napari_emsynth.io.atomic import digest
from napari_emsynth.io.inputs import NO_INPUTS, Inputs
from napari_emsynth.spec import Result
from napari_emsynth.volume import Array, Volume

Block = tuple[slice, slice, slice]

# Parts that are masks, 1 where it holds.
MASKS = ("synthetic", "empty")
MARKS = (*MASKS, "uncertainty")
# What may differ between two runs of the same job.
VOLATILE = frozenset(
    {"created", "seconds", "selfcheck", "residual", "calibration", "notices", "voxels_per_second", "torch"}
)


@dataclass(frozen=True)
class Content:
    """A volume with what is known of it.

    Args:
        volume: the voxels.
        synthetic: mask on the same grid, uint8; None when nothing is known.
        uncertainty: float32 on the same grid, or None.
        empty: mask on the same grid, uint8, of what was never acquired; None where every voxel is valid.
        provenance: JSON object, or None.
        inputs: files that all this is made from.
        moved_by: the displacement field that the volume is drawn by, or None.
    """

    volume: Volume
    synthetic: Volume | None = None
    uncertainty: Volume | None = None
    empty: Volume | None = None
    provenance: dict[str, Any] | None = None
    inputs: Inputs = NO_INPUTS
    moved_by: Any = None

    @classmethod
    def of(cls, source: Result | Volume, inputs: Inputs = NO_INPUTS) -> Content:
        """Take apart a result, or a volume (which keeps what is known of it).

        Args:
            source: what is to be stored.
            inputs: files that it is made from, besides the one that the volume names.

        Raises:
            InputError: a mask or an uncertainty of another shape than the volume's.
            TypeError: a record that is not JSON.
        """
        if isinstance(source, Volume):
            marks = {} if source.known is None else source.known.marks
            parts = {name: Volume(array, source.grid, name) for name, array in marks.items()}
            return cls(source, **parts, provenance=plain(source.record), inputs=_with_own(inputs, source))
        named = {"synthetic mask": source.synthetic, "uncertainty": source.uncertainty, "empty mask": source.empty}
        for name, part in named.items():
            if part is not None and part.shape != source.volume.shape:
                raise InputError(f"the {name} has shape {part.shape}, the volume {source.volume.shape}")
        record, known = plain(source.provenance), _with_own(inputs, source.volume)
        parts_beside = (source.synthetic, source.uncertainty, source.empty)
        return cls(source.volume, *parts_beside, record, known, source.displacement)

    @property
    def parts(self) -> dict[str, Volume]:
        """The arrays by name; the volume first."""
        named = {
            "volume": self.volume, "synthetic": self.synthetic, "uncertainty": self.uncertainty, "empty": self.empty,
        }  # fmt: skip
        return {name: part for name, part in named.items() if part is not None}

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the type in which a part is stored."""
        fixed = {**dict.fromkeys(MASKS, np.uint8), "uncertainty": np.float32}
        return np.dtype(fixed[name]) if name in fixed else self.volume.dtype

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel over all parts."""
        return sum(self.dtype(name).itemsize for name in self.parts)

    @property
    def is_computed(self) -> bool:
        """True when reading a block may mean work (dask, a cluster), not only copying."""
        # Arrays that are computed say how each axis is cut; stored ones name one size.
        return any(isinstance(next(iter(getattr(p.data, "chunks", None) or (0,))), tuple) for p in self.parts.values())

    def read(self, block: Block) -> dict[str, Array]:
        """Compute one block of every part, together, in native byte order.

        Raises:
            InputError: an input cannot be read or has vanished, or who computes is gone.
        """
        try:
            found = self._computed(block)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise InputError(f"a block cannot be read or computed: {where}{error.strerror or error}") from error
        # A store that is gone reads as one that is empty.
        self.inputs.check_there()
        return found

    def _computed(self, block: Block) -> dict[str, Array]:
        blocks = {name: part.data[block] for name, part in self.parts.items()}
        lazy = culled({name: b for name, b in blocks.items() if hasattr(b, "compute")})
        if lazy:
            import dask
            from dask.base import get_scheduler

            # One block at a time in this thread, unless the user chose a scheduler (a cluster): memory
            # stays flat.
            values = dask.compute(*lazy.values(), scheduler=get_scheduler() or "synchronous")
            blocks.update(zip(lazy, values, strict=True))
        return {
            name: np.ascontiguousarray(marked(b) if name in MASKS else b, dtype=self.dtype(name))
            for name, b in blocks.items()
        }

    def source_chunks(self) -> list[tuple[tuple[int, ...], ...]]:
        """Return how the lazy parts are cut along z, y, x; empty when every part is in memory."""
        return [cuts for part in self.parts.values() if (cuts := chunks_of(part)) is not None]

    def fingerprint(self, **layout: Any) -> str:
        """Return a hash of what the job makes and from what; ``layout`` is how it is stored."""
        identity = {
            "record": stable(self.provenance),
            "parts": {name: str(self.dtype(name)) for name in self.parts},
            "grid": [self.volume.shape, self.volume.grid.voxel_nm, self.volume.grid.origin_nm],
            "inputs": self.inputs.seen,
            "memory": {name: digest(*part.data) for name, part in self.parts.items() if _in_memory(part.data)},
            # One that was found anew has its own say: two fields must not meet in one volume.
            "field": digest(*self.moved_by.data) if _in_memory(getattr(self.moved_by, "data", None)) else None,
            "layout": layout,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def culled(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return dask arrays that carry only what it takes to compute them, what they share once.

    A block of a tall stack has the graph of the whole stack, which a scheduler goes through every time: 7 s a block of
    one section for 12 000 sections of 2048 x 2048 px, 0.1 s when it is culled first.
    """
    import dask.array as da
    from dask.core import flatten

    graph: dict[Any, Any] = {}
    for array in arrays.values():
        graph |= array.__dask_graph__().cull(set(flatten(array.__dask_keys__()))).to_dict()
    return {name: da.Array(graph, array.name, array.chunks, meta=array._meta) for name, array in arrays.items()}


def chunks_of(volume: Volume) -> tuple[tuple[int, ...], ...] | None:
    """Return the chunk sizes along z, y, x of a dask or zarr array, or None for one in memory."""
    chunks = getattr(volume.data, "chunks", None)
    if chunks is None or isinstance(volume.data, np.ndarray):
        return None
    if isinstance(chunks[0], tuple):
        return tuple(tuple(int(c) for c in axis) for axis in chunks)
    return tuple((int(c),) * math.ceil(n / c) for c, n in zip(chunks, volume.shape, strict=True))


def _in_memory(data: Any) -> bool:
    return isinstance(data, np.ndarray) and not isinstance(data, np.memmap)


def _with_own(inputs: Inputs, volume: Volume) -> Inputs:
    """Return the inputs with the file that a volume was read from."""
    return inputs.and_of([volume.metadata.get("path")])


def slabs(content: Content, budget_bytes: int = 1 << 30) -> Iterator[slice]:
    """Cut z so that no source chunk is computed twice, within a memory budget.

    Args:
        content: what is read.
        budget_bytes: a slab never exceeds this, unless one section does.
    """
    z, y, x = content.volume.shape
    limit = max(1, budget_bytes // (y * x * content.voxel_bytes))
    cuts = content.source_chunks()
    depths = max((c[0] for c in cuts), key=max, default=(1,) * z)
    start = 0
    for depth in depths:
        for low in range(start, start + depth, limit):
            yield slice(low, min(low + limit, start + depth))
        start += depth


def blocks(shape: Shape, edge: Shape) -> list[Block]:
    """Cut a shape into blocks of ``edge``, in z, y, x order; the last ones are smaller."""
    cuts = [[slice(i, min(i + e, n)) for i in range(0, n, e)] for n, e in zip(shape, edge, strict=True)]
    return [(z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2]]


def plain(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy of a record in strict JSON: NaN and infinities, which JSON has not, become null."""
    copy: dict[str, Any] | None = json.loads(
        json.dumps(None if record is None else dict(record)), parse_constant=lambda _: None
    )
    return copy


def stable(value: Any) -> Any:
    """Return ``value`` without what may differ between two runs of the same job."""
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, (list, tuple)):
        return [stable(v) for v in value]
    return value
