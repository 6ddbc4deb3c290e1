"""Laws of the interpolation U-Net, and its size computed by hand."""

from itertools import pairwise

import pytest
import torch

from napari_emsynth.models.interpolation_unet import Clues, Config, InterpolationUNet, Sides, clues_of, partner_of


def perturbed(seed=0):
    """A network whose zero-initialised heads were moved, so that laws are not trivially true."""
    torch.manual_seed(seed)
    net = InterpolationUNet().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return net


def sides(b=1, edge=64):
    return Sides(*torch.randn(5, b, 1, edge, edge, generator=torch.Generator().manual_seed(1)))


def section(seed=2):
    return torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(seed))


def clues(b=1, **known):
    values = {
        "t": 0.5,
        "span": 2.0,
        "far_below": 0.5,
        "far_above": 0.25,
        "noise": 0.1,
        "correlation": 0.8,
        "error": 0.3,
    }
    return Clues(*(torch.full((b,), float(v)) for v in (values | known).values()))


def test_parameter_count_by_hand():
    # encoder: stem 4->32, and 1x1 without bias 8->32 for the far section and the base; per level a 3x3 (w, w);
    # downs 32->48->80->96.
    # decoder: per level own and partner 3x3 (w, w), the partner's without bias; 1x1 coarser->w; linear 7->w;
    # refine 1 conv at the finest level and 2 elsewhere; flow 3x3 w->2. head 3x3 32->16.
    # context: 8->16->24->40, 3x3 without bias, and 1x1 16->32, 24->48, 40->80.
    w = (32, 48, 80, 96)
    encoder = 9 * 4 * 32 + 32 + 8 * 32 + sum(9 * c * c + c for c in w)
    encoder += sum(9 * a * b + b for a, b in pairwise(w))
    decoder = sum(9 * c * c * 2 + c + 7 * c + 9 * c * 2 + 2 for c in w)
    decoder += sum(a * b for a, b in pairwise(w))
    decoder += sum((1 if i == 0 else 2) * (9 * c * c + c) for i, c in enumerate(w))
    head = 9 * 32 * 16 + 16
    context = 9 * (8 * 16 + 16 * 24 + 24 * 40) + 16 * 32 + 24 * 48 + 40 * 80
    assert sum(p.numel() for p in InterpolationUNet().parameters()) == encoder + decoder + head + context


def test_a_fresh_network_is_the_fitted_filter():
    given = sides()
    for t in (0.25, 0.5, 0.8):
        mean, _ = InterpolationUNet()(given, clues(t=t))
        torch.testing.assert_close(mean, given.base, atol=1e-5, rtol=0)


@pytest.mark.parametrize("t", [0.2, 0.5])
def test_exchanging_the_sides_exchanges_nothing_else(t):
    net, (below, above, far_below, far_above, base) = perturbed(), sides()
    there = net(Sides(below, above, far_below, far_above, base), clues(t=t))
    back = net(Sides(above, below, far_above, far_below, base), clues(t=1 - t, far_below=0.25, far_above=0.5))
    for a, b in zip(there, back, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_samples_of_a_batch_do_not_mix():
    net, given = perturbed(), sides(b=3)
    together, _ = net(given, clues(3))
    alone, _ = net(Sides(*(x[1:2] for x in given)), clues())
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=0)


def test_nothing_kept_is_nothing_known():
    net, given, partial = perturbed(), sides(), section()
    without = net(given, clues())
    empty = net(given, clues(), partial, torch.zeros_like(partial))
    for a, b in zip(without, empty, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_the_intact_part_of_a_damaged_section_matters():
    net, given, partial = perturbed(), sides(), section()
    keep = torch.zeros_like(partial)
    keep[..., :32] = 1
    with_it, _ = net(given, clues(), partial, keep)
    without, _ = net(given, clues())
    assert float((with_it - without).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("name", Sides._fields)
def test_every_section_matters(name):
    net, given = perturbed(), sides()
    other = given._replace(**{name: section()})
    assert float((net(given, clues())[0] - net(other, clues())[0]).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("name", Clues._fields)
def test_every_clue_matters(name):
    net, given = perturbed(), sides()
    a, _ = net(given, clues())
    b, _ = net(given, clues(**{name: 0.9}))
    assert float((a - b).detach().abs().max()) > 1e-4


def test_clues_by_hand():
    below, above = section()[0, 0].numpy(), section(3)[0, 0].numpy()
    assert clues_of((-4, -1, 3, 6), below, above, 0.5)[:4] == (0.25, 4, 0.25, 0.5)
    assert clues_of((-1, 1), below, above, 0.5)[:4] == (0.5, 2, 0, 0)
    assert clues_of((2, 5), below, below, 0.5)[:4] == (0.5, 4, 0, 0.4)
    assert clues_of((-2,), below, below, 0.5)[4:] == pytest.approx((0, 1, 0.5))


def test_displacement_is_bounded():
    torch.manual_seed(0)
    net = InterpolationUNet(Config(max_displacement=8.0))
    with torch.no_grad():
        for level in net.decoder:
            level.flow.bias.fill_(1e3)
    flows = net.explain(sides(), clues()).flows
    for k, flow in enumerate(reversed(flows)):
        assert float(flow.detach().abs().max()) <= 8.0 / 2 ** (k + 1) + 1e-5
    assert float(flows[-1].detach().abs().max()) > 3.9  # reached, at half resolution


def test_partner_of_is_an_involution():
    x = torch.arange(8.0).view(4, 2)
    torch.testing.assert_close(partner_of(partner_of(x)), x)
    torch.testing.assert_close(partner_of(x)[:2], x[2:])


def test_config_round_trips_through_json():
    config = Config(widths=(8, 16), max_displacement=4.0)
    assert Config.from_json({"widths": [8, 16], "max_displacement": 4.0}) == config
    assert config.multiple == 4
