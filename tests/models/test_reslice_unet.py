"""Laws of the reslice U-Net, and its size computed by hand."""

from itertools import pairwise

import pytest
import torch

from napari_emsynth.models.reslice_unet import Config, ResliceUNet, facts_of

SMALL = Config(widths=(8, 12, 16))


def network(config=SMALL, moved=True):
    torch.manual_seed(0)
    net = ResliceUNet(config).eval()
    with torch.no_grad():
        for p in net.parameters() if moved else ():
            p.add_(0.02 * torch.randn_like(p))
    return net


def asked(config=SMALL, b=2, edge=32, factor=4.0, slab=True, sides=True):
    planes = torch.randn(b, config.planes, edge, edge, generator=torch.Generator().manual_seed(1))
    places = (torch.arange(edge) / factor % 1).expand(b, -1)
    return planes, places, torch.tensor([facts_of(factor, slab, sides)] * b)


def test_parameter_count_by_hand():
    w = (32, 56, 96, 128)
    stem = 9 * 4 * (5 + 2) * 32 + 32  # unshuffled: 5 planes, sine and cosine of the place
    encoder = sum(9 * a * b + b for a, b in pairwise(w)) + sum(2 * (9 * c * c + c) for c in w)
    decoder = sum(3 * (9 * c * c + c) + 3 * c for c in w) + sum(a * b for a, b in pairwise(w))
    head = 9 * 32 * 8 + 8
    assert sum(p.numel() for p in ResliceUNet().parameters()) == stem + encoder + decoder + head


def test_training_starts_at_the_stretched_plane():
    planes, places, facts = asked()
    mean, log_scale = network(moved=False)(planes, places, facts)
    assert torch.equal(mean[:, 0], planes[:, SMALL.sides])
    assert torch.equal(log_scale, torch.full_like(log_scale, -1.0))


def test_answers_have_the_size_of_the_plane():
    mean, log_scale = network()(*asked(edge=16))
    assert mean.shape == log_scale.shape == (2, 1, 16, 16)


@pytest.mark.parametrize("told", [{"factor": 8.0}, {"slab": False}, {"sides": False}])
def test_what_it_is_told_matters(told):
    net = network()
    planes, places, facts = asked()
    other = torch.tensor([facts_of(**({"factor": 4.0, "slab": True, "sides": True} | told))] * 2)
    assert not torch.allclose(net(planes, places, facts)[0], net(planes, places, other)[0], atol=1e-5)


def test_places_are_periodic():
    # 0 and 1 are both a section's centre.
    net = network()
    planes, places, facts = asked()
    assert torch.allclose(net(planes, places, facts)[0], net(planes, places + 1, facts)[0], atol=1e-4)


def test_side_planes_are_seen():
    net = network()
    planes, places, facts = asked()
    without = planes.clone()
    without[:, 0] = 0
    assert not torch.allclose(net(planes, places, facts)[0], net(without, places, facts)[0], atol=1e-5)


def test_a_config_survives_json():
    assert Config.from_json({"widths": [8, 12, 16], "sides": 1}) == Config(widths=(8, 12, 16), sides=1)
    assert Config(widths=(8, 12, 16)).multiple == 8
