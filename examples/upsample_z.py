"""Sections three times thinner: acquired ones stay as they are, new ones come between, and the truth is known here."""

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.metrics import psnr

truth = samples.truth().read(slice(0, 31), slice(0, 128), slice(0, 128))
thick = es.Volume.of(truth[::3], voxel_nm=(30, 10, 10))  # as if only every third section had been cut

result = es.upsample(thick, 3, method="linear")
print(thick.shape, "->", result.volume.shape, "voxel size in nm:", result.volume.grid.voxel_nm)
assert np.array_equal(result.volume.data[::3], thick.data)

check = result.provenance["selfcheck"]  # on the thick volume's own sections, without the truth
print(f"self-check: {check['psnr']:.1f} dB on {check['n']} hidden sections, linear {check['linear']:.1f} dB")
made_up = result.synthetic.data.any(axis=(1, 2))
print(f"against the truth: {psnr(result.volume.data[made_up], truth[made_up]):.1f} dB")

es.write(result, "isotropic.ome.zarr", overwrite=True)
