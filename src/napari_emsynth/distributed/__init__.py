"""Compute a lazy result on a Dask cluster, block by block and ahead of its reader."""

from napari_emsynth.distributed.cluster import connect
from napari_emsynth.distributed.stream import Streamed, on_cluster

__all__ = ["Streamed", "connect", "on_cluster"]
