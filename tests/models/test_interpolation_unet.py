"""Laws of the interpolation U-Net, and its size computed by hand."""

from itertools import pairwise

import pytest
import torch

from napari_emsynth.models.interpolation_unet import Config, InterpolationUNet, partner_of


def perturbed(seed=0):
    """A network whose zero-initialised heads were moved, so that laws are not trivially true."""
    torch.manual_seed(seed)
    net = InterpolationUNet().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return net


def sections(n=2, b=1, edge=64):
    return torch.randn(n, b, 1, edge, edge, generator=torch.Generator().manual_seed(1))


def at(value, b=1):
    return torch.full((b,), float(value))


def test_parameter_count_by_hand():
    # encoder: stem 4->32; per level a 3x3 (w, w); downs 32->48->80->96.
    # decoder: per level own and partner 3x3 (w, w), the partner's without bias; 1x1 coarser->w; linear 2->w;
    # refine 1 conv at the finest level and 2 elsewhere; flow 3x3 w->2. head 3x3 32->12.
    # context: 8->16->24->40, 3x3 without bias, and 1x1 16->32, 24->48, 40->80.
    w = (32, 48, 80, 96)
    encoder = 9 * 4 * 32 + 32 + sum(9 * c * c + c for c in w)
    encoder += sum(9 * a * b + b for a, b in pairwise(w))
    decoder = sum(9 * c * c * 2 + c + 2 * c + 9 * c * 2 + 2 for c in w)
    decoder += sum(a * b for a, b in pairwise(w))
    decoder += sum((1 if i == 0 else 2) * (9 * c * c + c) for i, c in enumerate(w))
    head = 9 * 32 * 12 + 12
    context = 9 * (8 * 16 + 16 * 24 + 24 * 40) + 16 * 32 + 24 * 48 + 40 * 80
    assert sum(p.numel() for p in InterpolationUNet().parameters()) == encoder + decoder + head + context


def test_a_fresh_network_is_linear_interpolation():
    below, above = sections()
    for t in (0.25, 0.5, 0.8):
        mean, _ = InterpolationUNet()(below, above, at(t), at(4))
        torch.testing.assert_close(mean, (1 - t) * below + t * above, atol=1e-4, rtol=0)


@pytest.mark.parametrize("t", [0.2, 0.5])
def test_exchanging_the_sections_exchanges_nothing_else(t):
    net, (below, above) = perturbed(), sections()
    there = net(below, above, at(t), at(5))
    back = net(above, below, at(1 - t), at(5))
    for a, b in zip(there, back, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_samples_of_a_batch_do_not_mix():
    net, (below, above) = perturbed(), sections(b=3)
    together, _ = net(below, above, at(0.5, 3), at(2, 3))
    alone, _ = net(below[1:2], above[1:2], at(0.5), at(2))
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=0)


def test_nothing_kept_is_nothing_known():
    net, (below, above, partial) = perturbed(), sections(3)
    without = net(below, above, at(0.5), at(2))
    empty = net(below, above, at(0.5), at(2), partial, torch.zeros_like(partial))
    for a, b in zip(without, empty, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_the_intact_part_of_a_damaged_section_matters():
    net, (below, above, partial) = perturbed(), sections(3)
    keep = torch.zeros_like(partial)
    keep[..., :32] = 1
    with_it, _ = net(below, above, at(0.5), at(2), partial, keep)
    without, _ = net(below, above, at(0.5), at(2))
    assert float((with_it - without).detach().abs().max()) > 1e-3


def test_position_and_span_matter():
    net, (below, above) = perturbed(), sections()
    a, _ = net(below, above, at(0.5), at(2))
    b, _ = net(below, above, at(0.5), at(8))
    assert float((a - b).detach().abs().max()) > 1e-4


def test_displacement_is_bounded():
    torch.manual_seed(0)
    net = InterpolationUNet(Config(max_displacement=8.0))
    with torch.no_grad():
        for level in net.decoder:
            level.flow.bias.fill_(1e3)
    below, above = sections()
    flows = net.explain(below, above, at(0.5), at(2)).flows
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
