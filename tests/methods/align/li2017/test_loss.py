"""Each term of the loss alone: its equation, its laws, its sign."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align.li2017.loss import (
    LossConfig,
    local_ncc,
    loss,
    reduced,
    roughness,
    similarity,
    window_mean,
)
from napari_emsynth.nn.gaussian import smoothed
from napari_emsynth.nn.warp import warp

SIZES = [(40, 44), (16, 18, 20)]


def image(size, seed=0):
    noise = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed))
    found = smoothed(noise, 1.0)
    return found / found.std()


def still(size, by=0.0):
    return torch.full((1, len(size), *size), by)


def test_the_window_mean_is_the_mean_of_the_window():
    x = image((20, 22))
    assert float(window_mean(x, 5)[0, 0, 10, 7]) == pytest.approx(float(x[0, 0, 8:13, 5:10].mean()), abs=1e-6)
    assert float(window_mean(x, 5)[0, 0, 0, 0]) == pytest.approx(float(x[0, 0, :3, :3].mean()), abs=1e-6)


def test_ncc_is_the_correlation_coefficient_of_the_window():
    a, b = image((20, 20)), image((20, 20), 1)
    expected = np.corrcoef(*(x[0, 0, 6:15, 5:14].flatten().numpy() for x in (a, b)))[0, 1]
    found = local_ncc(a, b, LossConfig(baseline=1e-8))[0, 0, 10, 9]
    assert float(found) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_gain_and_offset_do_not_matter_and_the_sign_does(size):
    a = image(size)
    assert float(local_ncc(a, 1.7 * a - 0.4).min()) > 0.9
    assert float(local_ncc(a, -a).max()) < -0.9
    assert float(local_ncc(a, image(size, 1)).mean().abs()) < 0.1


def test_what_is_flat_is_no_evidence():
    a, flat = image((20, 20)), torch.zeros(1, 1, 20, 20)
    assert float(local_ncc(a, flat).abs().max()) < 1e-5
    flat.requires_grad_()
    local_ncc(a, flat).sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("size", SIZES)
def test_similarity_is_largest_at_the_displacement_that_was_applied(size):
    fixed = image(size)
    u = still(size, 2.0)  # moving(p + 2) = fixed(p)
    moving = warp(fixed, -u)
    found = {by: float(similarity(fixed, moving, still(size, by))) for by in (-2.0, 0.0, 1.0, 2.0, 3.0)}
    assert max(found, key=found.get) == 2.0
    assert found[2.0] > 0.85  # the border is repeated: windows there see what is not in the other image


def test_pixels_pulled_from_outside_do_not_count():
    fixed = image((32, 32))
    u = still((32, 32), 0.0)
    u[:, 1] = 8.0
    moving = torch.roll(fixed, 8, dims=-1)  # the last columns' partners are beyond the border
    outside = fixed.clone()
    outside[..., 28:] = 5.0  # 4 px of window from what counts
    spoilt = similarity(outside, moving, u)
    torch.testing.assert_close(spoilt, similarity(fixed, moving, u))


def test_unknown_pixels_do_not_count():
    fixed, moving = image((32, 32)), image((32, 32))
    moving[..., :10] = 0
    known = torch.ones_like(fixed)
    known[..., :14] = 0
    assert (
        float(similarity(fixed, moving, still((32, 32)), known=known)) > 0.98
    )  # less than 1 by the floor of the variances
    assert float(similarity(fixed, moving, still((32, 32)))) < 0.9


@pytest.mark.parametrize("size", SIZES)
def test_roughness_of_a_constant_is_zero_and_of_a_ramp_its_slope_squared(size):
    assert float(roughness(still(size, 3.0))) == 0
    u = still(size)
    u[:, 0] = 0.1 * torch.arange(float(size[-1]))
    assert float(roughness(u)) == pytest.approx(0.01, rel=1e-4)


def test_the_loss_weighs_the_resolutions():
    config = LossConfig(smoothness=0.0)
    fixed, moving = image((64, 64)), image((64, 64), 1)
    fields = [still((64 // s, 64 // s)) for s in (4, 2, 1)]
    total, terms = loss(fixed, moving, fields, config)
    alone = [similarity(reduced(fixed, s), reduced(moving, s), u) for s, u in zip((4, 2, 1), fields, strict=True)]
    torch.testing.assert_close(total, -(0.3 * alone[0] + 0.6 * alone[1] + 1.0 * alone[2]))
    assert terms["ncc"] == pytest.approx(float(alone[2]))


def test_the_smoothness_counts_as_often_as_the_resolution_does():
    fixed = image((64, 64))
    fields = [still((64 // s, 64 // s)) for s in (4, 2, 1)]
    fields[0][:, 0] = 0.1 * torch.arange(16.0)
    rough = [loss(fixed, fixed, fields, LossConfig(smoothness=s))[0] for s in (0.0, 2.0)]
    assert float(rough[1] - rough[0]) == pytest.approx(0.3 * 2.0 * 0.01, rel=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_descending_the_loss_finds_a_shift(size):
    fixed = smoothed(image(size), 1.5)
    fixed = fixed / fixed.std()
    moving = warp(fixed, still(size, -1.0))
    shift = torch.zeros(1, len(size), *[1] * len(size), requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=0.1)
    for _ in range(40):
        total, _ = loss(fixed, moving, [shift.expand(-1, -1, *size)])
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert float((shift.detach() - 1).abs().max()) < 0.15
