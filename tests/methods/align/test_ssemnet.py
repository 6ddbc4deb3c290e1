from napari_emsynth.testing.volume_contract import AlignContract


class Test(AlignContract):
    task = "align"
    id = "ssemnet"
    chained = True
