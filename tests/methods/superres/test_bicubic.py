import numpy as np

from napari_emsynth.methods.superres.bicubic import Bicubic
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.superres_contract import SuperresContract


class Test(SuperresContract):
    task = "superres"
    id = "bicubic"


def test_a_ramp_is_a_finer_ramp_inside():
    ramp = np.tile(np.arange(20, dtype=np.float32), (20, 1))
    fine = Bicubic()(ramp[None], 8, Runtime(device="cpu")).mean
    expected = (np.arange(160) + 0.5) / 8 - 0.5
    assert np.abs(fine[80, 16:-16] - expected[16:-16]).max() < 0.06
