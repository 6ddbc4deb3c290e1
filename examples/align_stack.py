"""A stack whose sections jump against each other, pulled straight. The jumps are known."""

import numpy as np
from scipy.ndimage import shift

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.metrics import psnr, stack_cpc

truth = samples.truth().read(slice(0, 16), slice(0, 112), slice(0, 112)).astype(np.float32)
jumps = np.random.default_rng(0).normal(0, 1.5, (len(truth), 2))  # px
moved = np.stack([shift(section, u, order=3, mode="reflect") for section, u in zip(truth, jumps, strict=True)])
stack = es.Volume.of(np.clip(moved.round(), 0, 255).astype(np.uint8), voxel_nm=(10, 10, 10))

result = es.align(stack)
inside = np.s_[:, 8:-8, 8:-8]
for name, data in (("jumping", stack.data), ("aligned", result.volume.data)):
    print(f"{name}: {psnr(data[inside], truth[inside]):.1f} dB, neighbours correlate {stack_cpc(data[inside]):.3f}")
print(f"without the jumps neighbours correlate {stack_cpc(truth[inside]):.3f}")

check = result.provenance["selfcheck"]  # needs no truth
print(f"self-check: a known jitter, {check['psnr_jittered']:.1f} dB before, {check['psnr_aligned']:.1f} dB after")
for notice in result.provenance["notices"]:
    print("note:", notice)
es.write(result, "aligned.ome.zarr", overwrite=True)
