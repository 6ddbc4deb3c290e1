import numpy as np
import pytest

from napari_emsynth.methods.interpolate.optical_flow import quick_half_way
from napari_emsynth.testing.contract import MethodContract


class Test(MethodContract):
    task = "interpolate"
    id = "optical-flow"


@pytest.mark.parametrize("shape", [(64, 80), (61, 79), (20, 90)])
def test_the_quick_flow_moves_both_half_way(shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)

    def at(shift):
        return np.sin((y - shift) / 4) * np.cos((x + 0.5 * shift) / 5)

    drawn = quick_half_way(at(-1.5), at(1.5), 0.5)
    inner = np.s_[8:-8, 8:-8]
    linear = 0.5 * (at(-1.5) + at(1.5))
    better = np.abs(drawn - at(0))[inner].mean() / np.abs(linear - at(0))[inner].mean()
    assert better < (0.4 if min(shape) >= 32 else 1.01)


def test_the_quick_flow_is_symmetric():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 48, 50)).astype(np.float32)
    np.testing.assert_allclose(quick_half_way(a, b, 0.3), quick_half_way(b, a, 0.7), atol=1e-5)
