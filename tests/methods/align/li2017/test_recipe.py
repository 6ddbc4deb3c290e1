"""What Li & Fan's network is trained on and by which rule, and that a step moves it."""

import numpy as np
import torch

from napari_emsynth.methods.align.li2017.method import SPEC
from napari_emsynth.methods.align.li2017.recipe import Recipe, end_point_error
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

CPU = torch.device("cpu")
TINY = {"widths": [4, 4, 4]}


def recipe(**options):
    blocks = np.random.default_rng(0).integers(0, 255, (2, 12, 64, 72)).astype(np.uint8)
    data = TrainingData(blocks=[blocks[0]], held_out=[blocks[1]])
    return Recipe(data, config=TINY, batch=2, size=64, **options)


def test_a_step_moves_the_network_and_its_scores_are_complete():
    r = recipe()
    learner = r.learner(Plan(steps=5), CPU)
    with torch.inference_mode():
        fresh = r.validate(learner.network.eval(), CPU)
    assert np.isfinite(learner.step(np.random.default_rng(0), 1e-3)["loss"])
    assert any(float(p.detach().abs().max()) > 0 for p in learner.network.heads.parameters())
    with torch.inference_mode():
        scores = r.validate(learner.network.eval(), CPU)
    assert set(scores) == set(fresh) >= {"epe_same", "ncc_near", "score"}
    for kind in ("same", "near"):  # a fresh network moves nothing
        assert fresh[f"epe_{kind}"] == fresh[f"epe_{kind}_start"] == scores[f"epe_{kind}_start"]
        assert fresh[f"ncc_{kind}"] == fresh[f"ncc_{kind}_start"]


def test_it_learns_without_the_known_displacement():
    r = recipe()
    pairs = r.samples.batch(np.random.default_rng(3), 2)
    r.samples.batch = lambda rng, count: type(pairs)(
        pairs.moving, pairs.fixed, torch.full_like(pairs.displacement, torch.nan), pairs.related
    )
    total, terms = r.loss(r.network(), np.random.default_rng(0), CPU)
    assert torch.isfinite(total)
    assert -1 <= terms["ncc"] <= 1


def test_the_score_rises_when_the_error_falls_and_the_likeness_grows():
    class Oracle(torch.nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.answer = answer

        def forward(self, pair):
            return [self.answer(pair)]

    r = recipe()
    truths = iter([r._test_pairs(0).displacement, r._test_pairs(1).displacement])
    knowing = r.validate(Oracle(lambda pair: next(truths)), CPU)
    ignorant = r.validate(Oracle(lambda pair: torch.zeros_like(pair)), CPU)
    assert knowing["epe_same"] == 0
    assert knowing["ncc_same"] > ignorant["ncc_same"] + 0.1
    assert knowing["score"] > ignorant["score"]


def test_an_end_point_error_is_the_length_of_the_difference():
    truth = torch.zeros(1, 2, 64, 64)
    answer = truth.clone()
    answer[:, 0], answer[:, 1] = 3.0, 4.0
    answer[..., :16, :] = 100  # of the margin
    assert end_point_error(answer, truth) == 5


def test_the_recipe_is_the_method_s():
    assert SPEC.recipes == {"pairs": Recipe}
    assert recipe().fingerprint()["objective"] == "pairs"
    assert recipe().fingerprint()["config"]["widths"] == [4, 4, 4]
