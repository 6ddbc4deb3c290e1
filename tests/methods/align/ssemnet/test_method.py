from napari_emsynth.testing.volume_contract import AlignContract


class Test(AlignContract):
    task = "align"
    id = "ssemnet"
    chained = True
    params = {"iterations": 15}  # noqa: RUF012 - read only
