"""Both objectives of the default network, on noise: a step moves it, its scores are complete, the critic sees pairs."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.interpolate.emsynth.method import SPEC
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

CPU = torch.device("cpu")


def recipe(objective):
    blocks = np.random.default_rng(0).integers(0, 255, (2, 12, 48, 48)).astype(np.uint8)
    data = TrainingData(blocks=[blocks[0]], held_out=[blocks[1]])
    return SPEC.recipes[objective](data, None, {"widths": [8, 8, 8, 8]}, batch=2, size=32)


@pytest.mark.parametrize("objective", list(SPEC.recipes))
def test_every_objective_takes_a_step_and_is_scored(objective):
    r = recipe(objective)
    learner = r.learner(Plan(steps=5), CPU)
    before = [p.detach().clone() for p in learner.network.parameters()]
    assert np.isfinite(learner.step(np.random.default_rng(0), 1e-3)["loss"])
    assert any((a != b).any() for a, b in zip(before, learner.network.parameters(), strict=True))
    with torch.inference_mode():
        scores = r.validate(learner.network.eval(), CPU)
    assert {"psnr_1", "linear_1", "mid_band", "score"} <= set(scores)
    assert r.fingerprint()["objective"] == objective


def test_the_discriminator_sees_the_section_below_beside_both():
    r, rng = recipe("natural"), np.random.default_rng(0)
    lesson = r.minibatch(rng, CPU)
    answer = r.generate(r.network(), lesson)
    fakes, reals = r.fakes(lesson, answer, rng), r.reals(lesson, rng)
    torch.testing.assert_close(fakes[:, 0], reals[:, 0])
    torch.testing.assert_close(fakes[:, 1], answer.mean[:, 0])
    torch.testing.assert_close(reals[:, 1], lesson.target[:, 0])
    assert r.discriminator()(fakes).shape == (2,)
