"""Laws of Li & Fan's network, and its size computed by hand."""

from itertools import pairwise

import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.models.li2017 import Config, LiFan


def perturbed(config, seed=0):
    """A network whose zero-initialised heads were moved, so that laws are not trivially true."""
    torch.manual_seed(seed)
    net = LiFan(config).eval()
    with torch.no_grad():
        for head in net.heads:
            head.weight.normal_(0, 0.1)
    return net


def pair(*size, b=1):
    return torch.randn(b, 2, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("config", "taps"), [(Config(), 9), (Config.volumes(), 27)])
def test_parameter_count_by_hand(config, taps):
    # stem 2 -> w0; going down one stride-2 and one plain convolution a resolution; going up a 1x1 projection without
    # bias of the coarser state and one plain convolution a resolution; a head of as many maps as there are axes.
    w, d = config.widths, config.dimension
    encoder = taps * 2 * w[0] + w[0]
    encoder += sum(taps * a * b + b + taps * b * b + b for a, b in pairwise(w))
    decoder = sum(a * b for a, b in pairwise(w)) + sum(taps * c * c + c for c in w)
    heads = sum(taps * c * d + d for c in w[:3])
    assert sum(p.numel() for p in LiFan(config).parameters()) == encoder + decoder + heads


@pytest.mark.parametrize(("config", "size"), [(Config(), (32, 48)), (Config.volumes(), (8, 16, 24))])
def test_answers_at_three_resolutions_the_finest_at_full_size(config, size):
    net = LiFan(config)
    with torch.no_grad():
        answers = net(pair(*size, b=2))
    assert [tuple(u.shape) for u in answers] == [(2, len(size), *(n // s for n in size)) for s in (4, 2, 1)]


@pytest.mark.parametrize(("config", "size"), [(Config(), (32, 32)), (Config.volumes(), (8, 8, 8))])
def test_an_untrained_network_moves_nothing(config, size):
    with torch.no_grad():
        assert all(float(u.abs().max()) == 0 for u in LiFan(config)(pair(*size)))


def test_a_coarse_answer_is_handed_up_with_its_vectors_doubled():
    torch.manual_seed(0)
    net = LiFan()
    with torch.no_grad():
        net.heads[2].bias.copy_(torch.tensor([1.5, -0.5]))  # px at a quarter of the size
        answers = net(pair(32, 32))
    for scale, u in zip((1, 2, 4), answers, strict=True):
        torch.testing.assert_close(u, torch.tensor([1.5, -0.5]).view(1, 2, 1, 1).expand_as(u) * scale)


@pytest.mark.parametrize(
    ("config", "edge"), [(Config(widths=(4, 4, 4)), 160), (Config(widths=(3, 3), heads=2, smooth_px=0.5), 64)]
)
def test_an_answer_looks_no_further_than_its_reach(config, edge):
    net = perturbed(config)
    x = pair(edge, edge).requires_grad_()
    at = edge // 2
    net(x)[-1][0, :, at, at].sum().backward()
    seen = x.grad.abs().sum((0, 1))
    rows = torch.nonzero(seen.sum(1))[:, 0]
    reach = max(at - int(rows.min()), int(rows.max()) - at)
    assert reach <= config.reach
    assert reach >= config.reach - config.multiple  # the bound is no tighter than the phase of the grid


def test_warps_of_ten_px_lie_within_reach_of_the_default():
    # reach: down 1 + 3 + 6 + 12 + 24 = 46, up 31 + 30 = 61, heads 4, Gaussians of radius 5: 5 (1 + 2 + 4) = 35.
    assert Config().reach == 46 + 61 + 4 + 35


def test_samples_of_a_batch_do_not_mix():
    net, x = perturbed(Config()), pair(32, 32, b=3)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[-1][1:2], net(x[1:2])[-1], atol=1e-5, rtol=0)


def test_config_round_trips_through_json_and_refuses_nonsense():
    config = Config(widths=(8, 16), heads=2)
    assert Config.from_json({"widths": [8, 16], "heads": 2}) == config
    assert config.multiple == 2
    for bad in ({"dimension": 4}, {"widths": []}, {"heads": 9}, {"smooth_px": -1.0}, {"width": 3}):
        with pytest.raises(InputError):
            Config.from_json(bad)
