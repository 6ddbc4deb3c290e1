"""GPEMSR as a method: what it answers, tile by tile, and which weights it takes."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.gpemsr.method import SPEC, method as build_method
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR, Config
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.superres_contract import SuperresContract
from napari_emsynth.weights import store
from napari_emsynth.weights.card import Card


class Test(SuperresContract):
    task = "superres"
    id = "gpemsr"


TINY = Config(
    references=1, width=4, blocks=1, rebuild=1, deep=6, fine=(4,), groups=2, code_widths=(4, 4, 4, 6, 6), code_blocks=1,
    codes=9, dimension=5, code_groups=0, reach=1, unit=True, critic=(4,), index_width=4, index_blocks=1, flow_levels=2,
    flow_widths=(4,), flow_kernel=3, mask_width=4,
)  # fmt: skip
PLAIN = Confidence(((0.0, 2.0),))
CPU = Runtime(device="cpu")


def network(config=TINY):
    torch.manual_seed(0)
    net = GPEMSR(config)
    torch.nn.init.normal_(net.reconstruction.head.weight, std=0.1)
    return net


def block(y=72, x=40):
    return np.random.default_rng(0).normal(size=(5, y, x)).astype(np.float32)


@pytest.mark.parametrize("factor", [8, 16])
def test_the_answer_is_the_networks(factor):
    net = network(replace(TINY, factor=factor))
    method = build_method(net, PLAIN)
    assert (method.factor, method.context, method.multiple) == (factor, 2, 4)
    answer = method(block(24, 16), factor, CPU)
    with torch.no_grad():
        mean, log_scale, mask = (x[0, 0].numpy() for x in net(torch.from_numpy(block(24, 16))[None]))
    np.testing.assert_allclose(answer.mean, mean, atol=1e-5)
    np.testing.assert_allclose(answer.scale, np.exp(log_scale), rtol=1e-5)
    np.testing.assert_allclose(answer.mask, mask, atol=1e-6)
    assert answer.mean.shape == (24 * factor, 16 * factor)


def test_tiled_equals_whole():
    method = build_method(network(), PLAIN)
    whole = method(block(), 8, CPU)
    tiled = method(block(), 8, Runtime(device="cpu", tile=24))
    np.testing.assert_allclose(tiled.mask, whole.mask, atol=1e-5)
    # The flow and long chains of convolutions reach further than the halo, and hardly tell.
    np.testing.assert_allclose(tiled.mean, whole.mean, atol=2e-3)
    np.testing.assert_allclose(tiled.scale, whole.scale, rtol=2e-3)


def test_sizes_that_are_no_multiple_are_answered_whole():
    method = build_method(network(), PLAIN)
    odd = method(block(21, 19), 8, CPU)
    assert odd.mean.shape == odd.scale.shape == odd.mask.shape == (168, 152)
    assert np.isfinite(odd.mean).all()


def test_weights_of_ones_own_are_found_with_their_configuration(tmp_path):
    path = tmp_path / "mine.safetensors"
    config = replace(TINY, pod=False)
    card = Card(id="mine", method=SPEC.name, name="mine", config=asdict(config), factor=2.5)
    store.write(path, path.with_suffix(".toml"), network(config).state_dict(), card)
    method = SPEC.build(SPEC.params(), Runtime(), str(path))
    assert (method.factor, method.confidence, method.halo) == (8, Confidence(((0.0, 2.5),)), config.halo)
    np.testing.assert_allclose(
        method(block(16, 16), 8, CPU).mean, build_method(network(config), PLAIN)(block(16, 16), 8, CPU).mean, atol=1e-6
    )


def test_it_says_what_it_does_to_what_was_acquired():
    assert not SPEC.keeps_acquired
    assert SPEC.has_prior
    assert SPEC.has_uncertainty
    assert SPEC.factors == (8, 16)
    assert tuple(SPEC.recipes) == ("x8", "x16")
    with pytest.raises(InputError, match="nothing"):
        SPEC.build(SPEC.params(), Runtime(), "nothing")


@pytest.mark.parametrize(
    ("weights", "parts"),
    # At x8 what the codebook draws is worse than what the other parts do, and learning leaves it alone.
    [("x8", ["alignment"]), ("x16", ["alignment", "prior", "attention"])],
)
def test_parts_of_the_bundled_network_have_a_say(weights, parts, monkeypatch):
    """A part that went dead in training would leave the answer as it is."""
    net, _ = store.restored(SPEC.name, weights, lambda config: GPEMSR(Config.from_json(config)))
    net.eval()
    tissue = Phantom(shape=(5, 24, 24), dtype="float32").volume().data
    sections = torch.from_numpy((tissue - tissue.mean()) / tissue.std())[None]

    def drawn():
        with torch.no_grad():
            return net(sections).mean

    plain = drawn()
    silenced = {
        "prior": (net, "_mask", lambda low, reference: low.new_zeros(1, 1, 2, 2)),
        "alignment": (net, "_aligned", lambda sections, x: x),
        "attention": (net.fusion, "weights", lambda aligned: aligned.new_full((1, 5, 24, 24), 0.2)),
    }
    for part in parts:
        with monkeypatch.context() as patch:
            patch.setattr(*silenced[part])
            assert float((drawn() - plain).square().mean().sqrt()) > 0.01, part
