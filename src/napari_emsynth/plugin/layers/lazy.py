"""A layer's voxels as a lazy array, a section a chunk; free of Qt and napari, for a worker thread."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_emsynth.volume import Volume


def lazy(volume: Volume) -> Volume:
    """Return the volume on a dask array, one section a chunk."""
    import dask.array as da

    if hasattr(volume.data, "dask"):
        return volume
    from napari_emsynth.trust.remembered import shows

    data = da.from_array(volume.data, chunks=(1, *volume.shape[1:]), name=False)
    if isinstance(volume.data, np.ndarray):
        shows(data, volume)
    return replace(volume, data=data)
