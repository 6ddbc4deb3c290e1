"""How our aligner learns: its terms one by one, and that a step of each objective moves it the right way."""

import numpy as np
import pytest
import torch

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.emsynth.recipe import (
    Equivariant,
    Hybrid,
    Warps,
    answers,
    equivariance,
    features_apart,
    length,
    pair_loss,
    springs,
    straightened,
)
from napari_emsynth.models.alignment_net import Answer
from napari_emsynth.nn.warp import followed
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.samples.registration import Pairs

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


def smooth(seed, px):
    kind = Distortion(shift_px=px, rotation_deg=0.0, warp_px=px, wavelength_px=30.0)
    return torch.from_numpy(kind.draw(np.random.default_rng(seed), (64, 64)))[None]


def on_nodes(u):
    nodes = torch.nn.functional.avg_pool2d(u, 4)
    return Answer(nodes, 0 * nodes[:, :1], [nodes])


def test_an_answer_that_follows_a_warp_costs_least_whatever_it_says():
    g = smooth(0, 1.0)
    for u_0 in (torch.zeros(1, 2, 64, 64), smooth(1, 2.0)):
        due = followed(g, u_0)
        (right, left), (wrong, off) = (equivariance(g, on_nodes(u_0), on_nodes(u)) for u in (due, u_0))
        assert right < wrong
        assert left < 0.2 < 0.8 < off
    # What is constantly wrong is off by as much.
    _, off = equivariance(g, on_nodes(0 * g), on_nodes(g + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)))
    assert off == pytest.approx(5.0, abs=0.1)


def test_what_is_pulled_from_beyond_the_section_does_not_count():
    g = torch.zeros(1, 2, 64, 64)
    g[:, 1] = 32.0
    wrong = g.clone()
    wrong[..., 32:] += 100.0
    assert equivariance(g, on_nodes(0 * g), on_nodes(wrong))[1] < 0.01


def test_both_answers_learn_from_their_difference():
    recipe = Equivariant(DATA, config=SMALL, batch=1, size=48)
    triples = recipe.real[0].triples(np.random.default_rng(0), 2)
    network = recipe.network()
    plain, warped = answers(network, triples)
    for found, fixed in ((plain, triples.fixed), (warped, triples.warped)):
        torch.testing.assert_close(found.displacement, network(triples.moving, fixed).displacement)
    equivariance(triples.warp, plain, warped)[0].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert network.merges[0].head.weight.grad.abs().max() > 0


def test_thick_sections_are_taken_along_z_and_judged_apart():
    thick = TrainingData(
        blocks=DATA.blocks, held_out=DATA.held_out, axes=(0, 1, 2), thick=[BLOCK[:20]], thick_held_out=[BLOCK[20:]]
    )
    recipe = Equivariant(thick, config=SMALL, batch=1, size=48)
    assert [len(samples.stacks) for samples in recipe.real] == [3, 1]
    # Their neighbours may lie beside each other: nothing is said to be known between them.
    assert recipe.known[1].simulation.same == 1.0
    assert all(samples.simulation.same == 0.0 for samples in recipe.real)
    with torch.inference_mode():
        scores = recipe.validate(recipe.network().eval(), CPU)
    errors = [scores[name] for name in ("epe_same", "epe_gap", "eqe_gap", "eqe_thick")]
    assert scores["score"] == pytest.approx(-np.mean(np.log(errors)))


@pytest.mark.parametrize("recipe", [Warps, Hybrid, Equivariant])
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
