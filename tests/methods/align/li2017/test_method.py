from napari_emsynth.testing.volume_contract import AlignContract


class Test(AlignContract):
    task = "align"
    id = "li2017"
    # It sees a shift of 3.6 px as 3.4, and the solver leaves a part of one section's shift to the tissue.
    miss_px = 0.8
