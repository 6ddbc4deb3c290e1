"""Every method answers a bare gap the same way: same size, finite, float32."""

import numpy as np
import pytest

from napari_emsynth.methods import all_methods
from napari_emsynth.methods.interpolate.protocol import Gap
from napari_emsynth.spec import Runtime


@pytest.mark.parametrize("spec", all_methods("interpolate"), ids=lambda spec: spec.id)
@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (5, 3), (1, 1)])
def test_answers_have_the_size_of_the_question(spec, shape):
    rng = np.random.default_rng(0)
    below, above = rng.standard_normal((2, *shape)).astype(np.float32)
    method = spec.build(spec.params(), Runtime(device="cpu"), None)
    answer = method(Gap(below=below, above=above, t=0.25, span=4), Runtime(device="cpu"))
    assert answer.mean.shape == shape
    assert answer.mean.dtype == np.float32
    assert np.isfinite(answer.mean).all()
    if answer.scale is not None:
        assert answer.scale.shape == shape
        assert (answer.scale > 0).all()
    assert method.factor > 0
    assert method.halo >= 0
