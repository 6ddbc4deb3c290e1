"""The recipe of the single-stage network: it learns, starts at bicubic, and resumes."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.superres.scoring.held_out import held_out_cases, held_out_scores
from napari_emsynth.methods.superres.single_stage.recipe import X8, X16
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.loop import fit
from napari_emsynth.training.plan import Plan

VOLUME = Phantom(shape=(10, 136, 130), cell_px=40.0, noise=0.0).volume().data
DATA = TrainingData(blocks=[VOLUME[:6]], held_out=[VOLUME[6:]])
TINY = {"width": 12, "blocks": 1, "fine": [12, 8]}
CPU = torch.device("cpu")


def recipe(kind=X8, config=None, **options):
    return kind(DATA, None, TINY if config is None else config, **{"batch": 4, "size": 64, **options})


def test_cases_are_reduced_sections_with_their_neighbours():
    cases = held_out_cases(DATA.held_out, 8)
    assert len(cases) == 4
    for case in cases:
        assert case.low.shape == (5, 16, 16)
        assert case.truth.shape == (128, 128)
        middle = reduced(torch.from_numpy(case.truth)[None, None], 8)[0, 0].numpy()
        np.testing.assert_allclose(case.low[2], middle, atol=1e-5)
    # The first has nothing below: its own section stands for it.
    np.testing.assert_array_equal(cases[0].low[0], cases[0].low[1])
    assert held_out_cases([VOLUME[:, :24]], 8) == []


def test_the_truth_scores_best_and_bicubic_scores_nothing():
    cases = held_out_cases(DATA.held_out, 8)
    best = held_out_scores(cases, 8, lambda case: case.truth)
    assert best["score"] == np.inf
    assert best["mid_band"] == pytest.approx(1)
    assert best["residual"] < 1e-5
    start = recipe()
    scores = start.validate(start.network().eval(), CPU)
    assert scores["score"] == pytest.approx(0, abs=1e-4)
    assert scores["residual"] > 1e-3
    assert held_out_scores([], 8, lambda case: case.truth)["score"] == 0


@pytest.mark.parametrize(("kind", "factor", "edge"), [(X8, 8, 64), (X16, 16, 64)])
def test_a_batch_has_a_loss_whose_gradient_reaches_the_heads(kind, factor, edge):
    made = recipe(kind)
    assert made.samples.size == edge
    assert made.config.factor == factor
    network = made.network()
    loss, terms = made.loss(network, np.random.default_rng(0), CPU)
    loss.backward()
    assert torch.isfinite(loss)
    assert set(terms) == {"l1", "mse"}
    assert float(network.head.weight.grad.abs().sum()) > 0


def test_it_learns_and_goes_on_from_its_checkpoint(tmp_path):
    path = tmp_path / "run.safetensors"
    plan = Plan(steps=40, lr=4e-3, validate_every=1e6)
    trained = fit(recipe(), plan, path, device=CPU)
    history = trained.counters.history
    assert history[-1]["score"] > 0.15
    resumed = fit(recipe(), Plan(steps=42, lr=4e-3), path, device=CPU, resume=True)
    assert resumed.counters.step == 42
    assert resumed.counters.history[: len(history)] == history


def test_the_card_knows_the_factor_and_the_pixel_sizes():
    made = recipe(X16)
    facts = made.facts(made.network().eval(), CPU)
    assert facts["config"]["factor"] == 16
    assert facts["voxel_nm"] == (96.0, 272.0)
    assert facts["factor"] > 0


def test_weights_of_the_other_factor_are_refused():
    with pytest.raises(InputError, match="objective x8 trains networks of factor 8, these weights are of factor 16"):
        recipe(config={**TINY, "factor": 16})
