"""Isotropic voxels from an anisotropic stack with a black section in it, and the cells that were drawn in it along."""

from pathlib import Path

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.io.export import Output, export
from napari_emsynth.metrics import membrane_segmentation, psnr

truth = samples.truth().read(slice(0, 31), slice(0, 128), slice(0, 128))
cells = membrane_segmentation(truth).astype(np.uint16)  # stands for what somebody drew

# What a microscope would have acquired that keeps every third section and loses one.
thick = es.Volume.of(truth[::3].copy(), voxel_nm=(30, 10, 10), name="stack")
thick.data[6] = 0
labels = es.Volume.of(cells[::3], voxel_nm=(30, 10, 10), name="cells")

# Sections are thin samples with gaps between: point sampling. Thick sections would be sampling="slab".
result = es.upsample(thick, "isotropic", sampling="point")
z, y, x = result.volume.grid.voxel_nm
print(f"{thick.shape} -> {result.volume.shape}, voxels of {z:g} x {y:g} x {x:g} nm")
for line in result.provenance["notices"]:
    print(" ", line)

# What is wrong on average, on the stack's own sections (without the truth) and here, where the truth is known.
check = result.provenance["selfcheck"]
print(f"self-check: {check['psnr']:.1f} dB on {check['n']} hidden sections, linear {check['linear']:.1f} dB")
made_up = result.synthetic.data.any(axis=(1, 2))
print(f"against the truth: {psnr(result.volume.data[made_up], truth[made_up]):.1f} dB")
acquired = [j for j in range(0, 31, 3) if j != 18]  # section 6 lies here, and is marked as made up
assert not made_up[acquired].any()
assert np.array_equal(result.volume.data[acquired], truth[acquired])
if result.uncertainty is not None:
    print(f"stated error: {np.median(result.uncertainty.data[made_up]):.1f} grey levels, 9 times in 10")

# The cells go along: no id is new, and what was drawn is where it was.
along = result.apply(labels)
assert np.array_equal(along.data[::3], labels.data)
between = np.arange(31) % 3 > 0
nearest = labels.data[np.arange(1, 32) // 3]
for name, found in (("the nearest section's", nearest), ("upsampled by shapes", along.data)):
    print(f"labels, {name}: {(found == cells)[between].mean():.1%} of voxels have their own id")

# Both to files, with mask, error estimate and record; of a lazy stack they are drawn block by block.
files = [Output(path=Path("cells.ome.zarr"), volume=labels), Output(path=Path("isotropic.ome.zarr"))]
export(result, files, overwrite=True)
