from napari_emsynth.testing.contract import MethodContract


class Test(MethodContract):
    task = "interpolate"
    id = "emsynth"
