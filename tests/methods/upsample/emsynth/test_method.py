from napari_emsynth.testing.volume_contract import UpsampleContract


class Test(UpsampleContract):
    task = "upsample"
    id = "emsynth"
    symmetric = False
    # Tiles of 8 px of a phantom of 28 px, 1.8 % at most: its coarse levels see further than the halo that pays. On
    # tissue, tiles of 64 px are 0.04 % (rms) from the whole.
    tolerance = 0.02
