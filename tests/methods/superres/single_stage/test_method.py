"""The plain super-resolution method: tiled equals whole, and weights come with their factor."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.single_stage.method import SPEC, method as build_method
from napari_emsynth.models.single_stage import Config, SingleStage
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.superres_contract import SuperresContract
from napari_emsynth.weights import store
from napari_emsynth.weights.card import Card


class Test(SuperresContract):
    task = "superres"
    id = "single-stage"


PLAIN = Confidence(((0.0, 2.0),))
TINY = Config(factor=8, width=6, blocks=1, fine=(4,))


def network():
    torch.manual_seed(0)
    net = SingleStage(TINY)
    torch.nn.init.normal_(net.head.weight, std=0.1)
    return net


def block(y=40, x=28):
    return np.random.default_rng(0).normal(size=(5, y, x)).astype(np.float32)


def test_tiled_equals_whole():
    method = build_method(network(), PLAIN)
    whole = method(block(), 8, Runtime(device="cpu"))
    tiled = method(block(), 8, Runtime(device="cpu", tile=16))
    assert whole.mean.shape == whole.scale.shape == (320, 224)
    assert whole.mask is None
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=1e-5)
    np.testing.assert_allclose(tiled.scale, whole.scale, rtol=1e-5)
    with torch.no_grad():
        mean, log_scale = network()(torch.from_numpy(block())[None])
    np.testing.assert_allclose(whole.mean, mean[0, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(whole.scale, np.exp(log_scale[0, 0].numpy()), rtol=1e-5)


def test_weights_of_ones_own_are_found_with_their_factor(tmp_path):
    path = tmp_path / "mine.safetensors"
    card = Card(id="mine", method=SPEC.name, name="mine", config={**vars(TINY)}, factor=2.5)
    store.write(path, path.with_suffix(".toml"), network().state_dict(), card)
    method = SPEC.build(SPEC.params(), Runtime(), str(path))
    assert (method.factor, method.context, method.confidence) == (8, 2, Confidence(((0.0, 2.5),)))
    assert method.halo == TINY.halo
    np.testing.assert_allclose(
        method(block(), 8, Runtime(device="cpu")).mean,
        build_method(network(), PLAIN)(block(), 8, Runtime(device="cpu")).mean,
        atol=1e-6,
    )


def test_missing_weights_are_named():
    with pytest.raises(InputError, match="nothing"):
        SPEC.build(SPEC.params(), Runtime(), "nothing")
