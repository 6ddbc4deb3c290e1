"""Both networks learn, each from what it can: everything from isotropic blocks, reslices alone from others."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.emsynth.recipe import Accurate
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData

CPU = torch.device("cpu")
TINY = {name: {"widths": [4, 4]} for name in ("reslices", "sections")}


def recipe(axes=(0, 1, 2), **options):
    block = Phantom(shape=(48, 52, 56)).volume().read(slice(None))
    data = TrainingData(blocks=[block], held_out=[block[:36]], axes=axes)
    return Accurate(data, config=TINY, batch=2, size=32, **options)


def learning(r):
    """Return whose head has a gradient after a loss: every network's, that has one."""
    torch.manual_seed(0)
    network = r.network()
    loss, terms = r.loss(network, np.random.default_rng(0), CPU)
    loss.backward()
    parts = {"reslices": network.reslices, "sections": network.sections}
    return {name for name, part in parts.items() if part.head.weight.grad is not None}, terms


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"reslices", "sections"}),
        ({"axes": (0,)}, {"reslices"}),
        ({"only": "reslices"}, {"reslices"}),
        ({"only": "sections"}, {"sections"}),
    ],
)
def test_who_learns(options, expected):
    found, terms = learning(recipe(**options))
    assert found == expected
    assert ("l1" in terms, "l1_along" in terms) == ("reslices" in expected, "sections" in expected)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0,)])
def test_untrained_it_scores_no_worse_than_the_stretched_volume(axes):
    r = recipe(axes)
    network = r.network().eval()
    with torch.inference_mode():
        scores = r.validate(network, CPU)
        facts = r.facts(network, CPU)
    assert -0.2 < scores["score"] < 3
    assert facts["factor"] > 0
    assert facts["config"]["reslices"]["widths"] == (4, 4)
