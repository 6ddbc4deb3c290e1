import numpy as np
import pytest
import torch

from napari_emsynth.methods.interpolate.jain2017 import FINEST, SPEC, AdversarialSections, Jain2017, PixelRecipe
from napari_emsynth.methods.interpolate.protocol import Gap
from napari_emsynth.models.jain2017 import Config, InterpolationGenerator
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.contract import MethodContract
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

CPU = Runtime(device="cpu")


class Test(MethodContract):
    task = "interpolate"
    id = "jain2017"
    symmetric = False  # the fusing convolution tells its two sections apart


class TestAdversarial(MethodContract):
    task = "interpolate"
    id = "jain2017"
    weights = "adversarial"
    symmetric = False
    gain_db = 0.0
    alone_db = 2.0  # it draws detail of its own, which costs decibels


class Average(InterpolationGenerator):
    """A generator that answers the mean of its sections, whatever it has learnt."""

    def forward(self, x):
        cut = self.config.border[1]
        return x.mean(1, keepdim=True)[..., cut:-cut, cut:-cut]


@pytest.mark.parametrize(
    ("t", "reached"),
    [(0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (1 / 3, 3 / 8), (2 / 3, 5 / 8), (0.01, 1 / 8), (0.99, 7 / 8)],
)
def test_other_positions_are_reached_by_halving(t, reached):
    method = Jain2017(Average(Config(maps=2)))
    below, above = np.full((2, 16, 18), [[[1.0]], [[3.0]]], np.float32)
    drawn = method(Gap(below=below, above=above, t=t), CPU).mean
    np.testing.assert_allclose(drawn, 1 + 2 * reached, atol=1e-6)


def test_the_halo_covers_as_many_halvings_as_there_may_be():
    method = Jain2017(InterpolationGenerator(Config(maps=2)))
    assert FINEST == 2**3
    assert method.halo >= 3 * method.border


def data():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (2, 12, 48, 48)).astype(np.uint8)
    return TrainingData(blocks=[blocks[0]], held_out=[blocks[1]])


def test_the_pixel_recipe_compares_with_the_true_section_inside_the_border():
    recipe = PixelRecipe(data(), config={"maps": 2}, batch=2, size=48)
    network = Average(recipe.config)
    loss, terms = recipe.loss(network, np.random.default_rng(3), torch.device("cpu"))
    lesson = recipe.samples.batch(np.random.default_rng(3), 2)
    expected = (0.5 * (lesson.below + lesson.above) - lesson.target)[..., 13:-13, 13:-13].abs().mean()
    torch.testing.assert_close(loss, expected)
    assert terms["pixel"] == pytest.approx(float(expected))
    assert (lesson.t == 0.5).all()


def test_the_discriminator_sees_the_section_below_beside_both():
    recipe = AdversarialSections(data(), config={"maps": 2}, batch=2, size=48)
    rng, device = np.random.default_rng(0), torch.device("cpu")
    lesson = recipe.minibatch(rng, device)
    drawn = recipe.generate(Average(recipe.config), lesson)
    fakes, reals = recipe.fakes(lesson, drawn, rng), recipe.reals(lesson, rng)
    assert fakes.shape == reals.shape == (2, 2, 22, 22)
    torch.testing.assert_close(fakes[:, 0], reals[:, 0])
    torch.testing.assert_close(reals[:, 1], lesson.target[:, 0, 13:-13, 13:-13])
    torch.testing.assert_close(fakes[:, 1], drawn[:, 0])
    assert recipe.discriminator()(fakes).shape == (2,)


@pytest.mark.parametrize("objective", list(SPEC.recipes))
def test_every_objective_takes_a_step_and_is_scored(objective):
    recipe = SPEC.recipes[objective](data(), None, {"maps": 2})
    learner = recipe.learner(Plan(steps=5), torch.device("cpu"))
    before = [p.detach().clone() for p in learner.network.parameters()]
    terms = learner.step(np.random.default_rng(0), 1e-3)
    assert np.isfinite(terms["loss"])
    assert any((a != b).any() for a, b in zip(before, learner.network.parameters(), strict=True))
    with torch.inference_mode():
        scores = recipe.validate(learner.network.eval(), torch.device("cpu"))
    assert {"psnr_1", "linear_1", "mid_band", "score"} <= set(scores)
    assert recipe.fingerprint()["objective"] == objective
    assert recipe.facts(learner.network, torch.device("cpu"))["config"]["maps"] == 2
