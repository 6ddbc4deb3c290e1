"""What ssEMnet's autoencoder is trained on, by which rule, and how it is scored."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align.ssemnet.method import SPEC
from napari_emsynth.methods.align.ssemnet.recipe import DECAY, Recipe, shift_error, valley
from napari_emsynth.models.ssemnet import Autoencoder, Config
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import told

CPU = torch.device("cpu")
TINY = {"widths": [4, 6, 8]}
STACK = Phantom(shape=(12, 96, 100), drift=0.2).volume().data


def recipe(**options):
    data = TrainingData(blocks=[STACK], held_out=[STACK[:5]])
    return Recipe(data, config=TINY, batch=1, size=32, **options)


def test_the_loss_is_the_reconstruction_and_the_weights_size():
    r = recipe()
    network = r.network()
    loss, terms = r.loss(network, np.random.default_rng(0), CPU)
    size = sum(float(p.detach().square().sum()) for p in network.parameters())
    assert float(loss.detach()) == pytest.approx(told(terms)["mse"] + DECAY * size, rel=1e-5)


def test_a_perfect_autoencoder_has_no_error():
    class Perfect(torch.nn.Module):
        def forward(self, section):
            return section

    assert recipe().loss(Perfect(), np.random.default_rng(0), CPU)[1]["mse"] == 0


def test_the_optimiser_has_no_decay_of_its_own():
    learner = recipe().learner(Plan(steps=5, decay=0.3), CPU)
    assert {group["weight_decay"] for group in learner.optimiser.param_groups} == {0.0}


def test_steps_lower_the_loss_and_are_scored():
    r = recipe()
    learner = r.learner(Plan(steps=60), CPU)
    seen = [learner.step(np.random.default_rng(k % 4), 3e-3)["mse"] for k in range(60)]
    assert all(after < before for before, after in zip(seen[:4], seen[-4:], strict=True))
    with torch.inference_mode():
        scores = r.validate(learner.network.eval(), CPU)
    assert set(scores) == {"psnr", "shift_px", "score"}
    assert all(np.isfinite(v) for v in scores.values())
    assert r.fingerprint()["objective"] == next(iter(SPEC.recipes)) == "autoencoder"


@pytest.mark.parametrize(("by", "axis"), [(2.4, 0), (-1.7, 1), (0.0, 0)])
def test_the_features_place_a_known_shift(by, axis):
    torch.manual_seed(0)
    network = Autoencoder(Config(widths=(4, 6, 8)))
    section = ((STACK[3].astype(np.float32) - 140) / 40)[:96, :96]
    assert shift_error(network, section, section, by, axis, CPU) < 0.2


def test_the_valley_of_a_parabola():
    d = np.arange(-4.0, 5.0)
    assert valley((d - 1.3) ** 2) == pytest.approx(5.3)
    assert valley(np.zeros(5)) == 1  # nothing to go by: no division by nothing
