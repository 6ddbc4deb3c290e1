"""Synthesise only a damaged part of a section: every voxel outside the mask stays as it was acquired."""

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples

volume = samples.truth()
mask = np.zeros(volume.shape, dtype=np.uint8)
mask[20, 60:140, 90:200] = 1  # a fold, a crack, a piece of dirt

result = es.interpolate(volume, mask=mask)
mended = result.volume.section(20)
outside = mask[20] == 0
assert np.array_equal(mended[outside], volume.section(20)[outside])
print("mean error estimate inside the mask:", result.uncertainty.section(20)[~outside].mean())
