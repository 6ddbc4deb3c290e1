"""How our aligner learns: its terms one by one, and that a step of each objective moves it the right way."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align.emsynth_recipe import (
    Hybrid,
    Warps,
    features_apart,
    length,
    pair_loss,
    springs,
    straightened,
)
from napari_emsynth.models.alignment_net import Answer
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.registration import Pairs

CPU = torch.device("cpu")
BLOCK = Phantom(shape=(40, 72, 80)).volume().data
DATA = TrainingData(blocks=[BLOCK[:28]], held_out=[BLOCK[28:]], name="phantom")
SMALL = {"stem": 4, "widths": [6, 8], "state": 5, "hidden": 6, "reach": 2, "rounds": 1}


def pairs(displacement, related=1.0):
    image = torch.zeros(1, 1, 16, 16)
    return Pairs(image, image, displacement, torch.tensor([related]))


def answer(displacement, log_scale=0.0):
    return Answer(displacement, torch.full((1, 1, 4, 4), log_scale), [displacement])


def test_the_loss_is_least_at_the_truth_and_at_the_true_scale():
    truth = torch.full((1, 2, 16, 16), 3.0)
    near, far = (torch.full((1, 2, 4, 4), 3.0 + e) for e in (0.1, 1.0))
    assert pair_loss(pairs(truth), answer(near))[0] < pair_loss(pairs(truth), answer(far))[0]
    # e / b + 2 log b is least at b = e / 2.
    error = float(length(torch.full((1, 2, 1, 1), 1.0)))
    losses = [pair_loss(pairs(truth), answer(far, float(np.log(b * error))))[0] for b in (0.25, 0.5, 1.0)]
    assert losses[1] < min(losses[0], losses[2])


def test_strangers_teach_the_scale_alone():
    wrong = torch.full((1, 2, 4, 4), 5.0, requires_grad=True)
    scale = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss, terms = pair_loss(pairs(torch.zeros(1, 2, 16, 16), related=0.0), Answer(wrong, scale, [wrong]))
    loss.backward()
    assert terms["epe"] == 0.0
    assert wrong.grad is None or not wrong.grad.any()
    assert (scale.grad < 0).all()  # a longer expected error would have been better


def test_steady_motion_is_not_straightened_and_jitter_is():
    steady = torch.ones(24, 2, 1, 1)
    found = straightened(steady)
    assert found[9:-9].abs().max() < 0.01
    jumps = torch.zeros(24, 2, 1, 1)
    jumps[12], jumps[13] = 4.0, -4.0  # section 12 is displaced
    found = straightened(jumps)[:, 0, 0, 0]
    assert found[12] > 3.0
    assert found[[11, 13]].abs().max() < 1.0


def test_springs_cost_stretch_and_shear_and_nothing_else():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    still = {"shift": torch.stack((0 * y + 3, 0 * x - 2)), "turn": 0.1 * torch.stack((-x, y))}
    bent = {"stretch": 0.1 * torch.stack((y, 0 * x)), "shear": 0.1 * torch.stack((x, 0 * y))}
    for name, u in still.items():
        assert springs(u[None]) < 1e-8, name
    assert springs(bent["stretch"][None]) == pytest.approx(0.04, rel=1e-3)
    assert springs(bent["shear"][None]) == pytest.approx(0.02, rel=1e-3)


def test_features_come_nearer_under_the_right_displacement():
    torch.manual_seed(0)
    fixed = torch.nn.functional.normalize(torch.randn(1, 8, 12, 12), dim=1)
    moving = torch.roll(fixed, (1, 0), dims=(2, 3))
    right = torch.zeros(1, 2, 12, 12)
    right[:, 0] = 4.0  # one node of four px
    assert features_apart(moving, fixed, right) < 0.2
    assert features_apart(moving, fixed, -right) > 0.8
    assert features_apart(fixed, fixed, 0 * right) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("recipe", [Warps, Hybrid])
def test_steps_change_the_network_and_stay_finite(recipe):
    made = recipe(DATA, config=SMALL, batch=1, size=48)
    learner = made.learner(Plan(steps=4), CPU)
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    terms = [learner.step(np.random.default_rng(i), 1e-3) for i in range(2)]
    assert all(np.isfinite(list(t.values())).all() for t in terms)
    after = learner.network.state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)


def test_hybrid_shows_reslices_against_sections_of_one_size():
    recipe = Hybrid(DATA, config=SMALL, batch=1, size=48)
    rng = np.random.default_rng(0)
    batch = recipe.minibatch(rng, CPU)
    output = recipe.generate(recipe.network(), batch)
    fakes, reals = recipe.fakes(batch, output, rng), recipe.reals(batch, rng)
    assert fakes.shape == reals.shape == (6, 1, recipe.depth, recipe.depth)
    assert output.pulled.shape == (recipe.depth, 2, recipe.edge, recipe.edge)
    assert fakes.requires_grad
    assert not reals.requires_grad


def test_validation_scores_both_kinds():
    recipe = Warps(DATA, config=SMALL, batch=1, size=48)
    with torch.inference_mode():
        scores = recipe.validate(recipe.network().eval(), CPU)
    assert scores["score"] == pytest.approx(-np.mean([np.log(scores["epe_same"]), np.log(scores["epe_gap"])]))


def test_training_learns_a_known_shift():
    recipe = Warps(DATA, config=SMALL, batch=2, size=48)
    learner = recipe.learner(Plan(steps=60, lr=3e-3), CPU)
    rng = np.random.default_rng(0)
    losses = [learner.step(rng, 3e-3)["loss"] for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
