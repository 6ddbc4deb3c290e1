"""The loss of both networks, and which factors they meet."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.emsynth.loss import drawn_factor, judgement


def test_what_weighs_nothing_costs_nothing():
    error = torch.tensor([[[1.0, 50.0], [1.0, 50.0]]])
    weight = torch.tensor([[[1.0, 0.0]]])
    loss, terms = judgement(error, torch.zeros_like(error), weight)
    assert terms == pytest.approx({"l1": 1.0, "mse": 1.0})
    assert loss.item() == pytest.approx(1 + 2 * 1 + 0.1 * 1)


def test_only_ratios_of_weights_count():
    error, scale = torch.randn(2, 4, 4), torch.randn(2, 4, 4)
    one, other = (judgement(error, scale, w * torch.ones(2, 4, 1))[0] for w in (1.0, 7.0))
    assert one.item() == pytest.approx(other.item(), rel=1e-5)


def test_the_best_scale_is_the_mean_error_and_it_teaches_the_scale_only():
    error = torch.tensor([[[0.2, -0.6]]], requires_grad=True)
    log_scale = torch.full((1, 1, 2), float(np.log(0.4)), requires_grad=True)
    loss, _ = judgement(error, log_scale, torch.ones(1, 1, 1))
    loss.backward()
    assert log_scale.grad.sum().item() == pytest.approx(0, abs=1e-6)
    expected = (torch.sign(error) + 4 * error).detach() / 2
    torch.testing.assert_close(error.grad, expected)


def test_factors_are_those_that_users_may_ask_for():
    rng = np.random.default_rng(0)
    point = [drawn_factor(rng, "point") for _ in range(400)]
    slab = [drawn_factor(rng, "slab") for _ in range(400)]
    assert set(point) == set(range(2, 13))
    assert all(2 <= f <= 12 for f in slab)
    assert 0.2 < np.mean([f != int(f) for f in slab]) < 0.5
