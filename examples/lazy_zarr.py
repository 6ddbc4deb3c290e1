"""A stack larger than memory: nothing is computed until a section is looked at or written."""

import napari_emsynth as es
from napari_emsynth import samples

es.write(samples.damaged(), "large.ome.zarr", overwrite=True)

volume = es.read("large.ome.zarr", voxel_nm=(10, 10, 10))  # opens the file, reads no voxel
result = es.interpolate(volume, sections=[22, 23], method="linear")
print(type(result.volume.data).__module__, result.volume.shape)

section = result.volume.section(22)  # computes this section alone
print("section 22:", section.mean())
es.write(result, "mended_large.ome.zarr", overwrite=True)  # block by block; resumable with resume=True
