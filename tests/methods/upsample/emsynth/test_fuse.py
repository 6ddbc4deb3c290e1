"""Laws of fusing experts: the surer one has more say, nobody is invented, nobody is doubled."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_emsynth.methods.upsample.emsynth.fuse import fused, trust_of
from napari_emsynth.methods.upsample.protocol import Expert


def expert(name, mean, scale):
    shape = (1, 1, 2)
    return Expert(name, np.full(shape, mean, np.float32), None if scale is None else np.full(shape, scale, np.float32))


def test_weights_are_inverse_variances():
    mean, scale = fused([expert("a", 1.0, 1.0), expert("b", 6.0, 2.0)], {})
    assert mean == pytest.approx((1.0 + 6.0 / 4) / 1.25)
    assert scale == pytest.approx((1.0 + 2.0 / 4) / 1.25)
    assert mean.dtype == scale.dtype == np.float32


def test_half_the_trust_is_twice_the_variance():
    halved, _ = fused([expert("a", 1.0, 1.0), expert("b", 5.0, 1.0)], {"b": 0.5})
    wider, _ = fused([expert("a", 1.0, 1.0), expert("b", 5.0, 2**0.5)], {})
    assert halved == pytest.approx(wider)


@given(st.floats(-3, 3), st.floats(0.01, 2), st.floats(0.01, 2), st.floats(0.1, 1))
def test_experts_who_agree_are_right_and_as_sure_as_they_are(mean, one, other, trust):
    answer, scale = fused([expert("a", mean, one), expert("b", mean, other)], {"a": trust})
    assert answer == pytest.approx(mean, abs=1e-5)
    assert (scale >= min(one, other) * (1 - 1e-5)).all()
    assert (scale <= max(one, other) * (1 + 1e-5)).all()


def test_who_is_not_trusted_has_no_say():
    mean, scale = fused([expert("a", 1.0, 0.5), expert("b", np.nan, 0.1)], {"b": 0.0})
    assert mean == pytest.approx(1.0)
    assert scale == pytest.approx(0.5)


def test_one_alone_is_left_as_it_is():
    only = expert("a", 0.1, 0.3)
    mean, scale = fused([only], {})
    assert mean is only.mean
    assert scale == pytest.approx(0.3)


def test_without_a_scale_there_is_a_mean_only():
    assert fused([expert("a", 2.0, None)], {})[1] is None
    mean, scale = fused([expert("a", 1.0, 1.0), expert("b", 4.0, None)], {"b": 2.0})
    assert mean == pytest.approx(3.0)
    assert scale is None


def test_one_that_is_sure_of_all_does_not_break_the_sum():
    mean, scale = fused([expert("a", 1.0, 0.0), expert("b", 5.0, 1.0)], {})
    assert mean == pytest.approx(1.0, abs=1e-4)
    assert np.isfinite(scale).all()


def test_a_method_says_whom_it_trusts_or_trusts_all():
    class Choosy:
        def trust(self, factor, sampling):
            return {"a": factor if sampling == "slab" else 0}

    assert trust_of(Choosy(), 3, "slab") == {"a": 3.0}
    assert trust_of(Choosy(), 3, "point") == {"a": 0.0}
    assert trust_of(object(), 3, "point") == {}
