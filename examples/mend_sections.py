"""Find the damaged sections of a stack, synthesise them, and see how far to trust the result."""

import napari_emsynth as es
from napari_emsynth import samples

volume = es.read(samples.path())  # any .tif, .zarr, .mrc, or a folder of images
damaged = sorted({suspect.section for suspect in es.detect(volume)})
print("damaged sections:", damaged)

result = es.interpolate(volume, sections=damaged)
for entry in result.provenance["sections"]:
    check = entry["selfcheck"]
    print(
        f"section {entry['section']} from {entry['below']} and {entry['above']}: "
        f"{check['psnr']:.1f} dB on intact neighbours, linear {check['linear']:.1f} dB"
    )
for notice in result.provenance["notices"]:
    print("note:", notice)

# Volume, mask of what was made up, error estimate and record, all in one file.
es.write(result, "mended.ome.zarr", overwrite=True)
