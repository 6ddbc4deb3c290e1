"""Align a binned copy; let the full-size stack, its labels and points follow; keep the field for another day."""

import numpy as np

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.metrics import stack_cpc

# Twelve real sections that jump against each other by whole pixels, and what belongs to them.
truth = samples.truth().read(slice(0, 12), slice(0, 192), slice(0, 192))
jumps = np.random.default_rng(0).integers(-4, 5, (len(truth), 2))
jumping = np.stack([np.roll(section, tuple(u), (0, 1)) for section, u in zip(truth, jumps, strict=True)])
stack = es.Volume.of(jumping, voxel_nm=(10, 10, 10), name="stack")
labels = (jumping < 90).astype(np.uint16)  # any labels of the same shape
points = np.array([(3, 100.0, 80.0), (4, 100.0, 80.0)])  # z, y, x

# Half the resolution is a quarter of the work.
small = jumping.reshape(12, 96, 2, 96, 2).mean(axis=(2, 4)).astype(np.uint8)
copy = es.Volume.of(small, voxel_nm=(10, 20, 20))
result = es.align(copy, method="optical-flow", max_displacement_nm=120, selfcheck=False)
es.write_field(result, "field.zarr", overwrite=True)

# The same field, fitted to the full size, moves everything.
field = es.read_field("field.zarr", stack)
aligned = es.apply_field(stack, field, "cubic")
moved_labels = es.apply_field(labels, field)  # integers: their ids stay
moved_points = es.move_points(points, field)

inside = np.s_[:, 16:-16, 16:-16]
for name, data in (("jumping", jumping), ("aligned", aligned.data), ("as acquired", truth)):
    print(f"{name}: neighbours correlate {stack_cpc(data[inside]):.3f}")
print("labels:", np.unique(moved_labels), "points:", moved_points.round(1).tolist())

# There and back: the field and its inverse cancel.
nothing = es.compose(field, es.invert(field))
print(f"left of both: {np.median([nothing.magnitude(z) for z in range(12)]):.3f} px")
