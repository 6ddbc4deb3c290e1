from napari_emsynth.testing.volume_contract import UpsampleContract


class Test(UpsampleContract):
    task = "upsample"
    id = "jain2017"
    symmetric = False
