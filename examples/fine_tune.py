"""Fine-tune the default method on the very volume it will mend, and compare it with the bundled weights.

A real run takes ten minutes or more (``minutes=10``); ten steps only show how it is done.
"""

import napari_emsynth as es
from napari_emsynth import samples

volume = es.Volume.of(samples.truth().read(slice(24, 40), slice(0, 128), slice(0, 128)), voxel_nm=(10, 10, 10))
record = es.train("interpolate/emsynth", volume, "mine.safetensors", steps=10, seed=1)
print("held-out score before and after:", record["before"]["score"], record["after"]["score"])

for weights in (None, "mine.safetensors"):
    scores = es.evaluate("interpolate/emsynth", volume, weights=weights, limit=4)["scores"]
    print(weights or "bundled", {name: score["psnr"] for name, score in scores.items()})
