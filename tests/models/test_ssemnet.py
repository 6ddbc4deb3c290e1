"""Laws of ssEMnet's autoencoder, and its size computed by hand."""

import pytest
import torch

from napari_emsynth.models.ssemnet import Autoencoder, Config


def network(seed=0, **sizes):
    torch.manual_seed(seed)
    return Autoencoder(Config(**sizes)).eval()


def sections(n=1, edge=64):
    return torch.randn(n, 1, edge, edge, generator=torch.Generator().manual_seed(1))


def test_parameter_count_by_hand():
    # Encoder: 4x4 1->16, 16->32, 32->64, each followed by a 3x3 that keeps its maps; with biases.
    # Decoder: 3x3 keeping 64, 32, 16 maps, each followed by a 4x4 64->32, 32->16, 16->1.
    refine = sum(9 * w * w + w for w in (16, 32, 64))
    down = 16 * (1 * 16 + 16 * 32 + 32 * 64) + 16 + 32 + 64
    up = 16 * (64 * 32 + 32 * 16 + 16 * 1) + 32 + 16 + 1
    assert sum(p.numel() for p in Autoencoder().parameters()) == 2 * refine + down + up == 179_585


def test_sizes():
    net = network()
    features = net.encoder(sections(2, 96)[..., :64])
    assert features.shape == (2, 64, 12, 8)  # an eighth
    assert net(sections(2, 96)).shape == (2, 1, 96, 96)
    assert net.config.multiple == 8
    assert Config(widths=(4, 4, 4, 4)).multiple == 16


def test_receptive_field_by_hand():
    # (4 + 2*2) = 8 at 1/2; + 3*2 + 2*4 = 22 at 1/4; + 3*4 + 2*8 = 50 px at 1/8.
    config = Config()
    assert config.receptive_field == 50
    net = network()
    x = sections(1, 128).requires_grad_()
    feature = net.encoder(x)[0, :, 8, 8].sum()
    (grad,) = torch.autograd.grad(feature, x)
    rows = torch.nonzero(grad[0, 0].abs().sum(dim=1))[:, 0]
    # Feature 8 stands for pixels 64 to 71; the field reaches 21 px further on both sides.
    assert (int(rows.min()), int(rows.max())) == (64 - 21, 71 + 21)


def test_features_move_with_the_section():
    net = network()
    section = torch.zeros(1, 1, 160, 160)
    section[..., 48:112, 48:112] = sections()
    moved = torch.roll(section, (8, -16), dims=(2, 3))
    with torch.no_grad():
        here, there = net.encoder(section), net.encoder(moved)
    inner = slice(5, -5)
    torch.testing.assert_close(torch.roll(here, (1, -2), dims=(2, 3))[..., inner, inner], there[..., inner, inner])


def test_features_are_rectified_and_varied():
    with torch.no_grad():
        features = network().encoder(sections(4))
    assert float(features.min()) == 0
    assert 0.2 < float((features > 0).float().mean()) < 0.8
    assert 0.3 < float(features.std()) < 3


def test_the_answer_is_not_rectified():
    with torch.no_grad():
        drawn = network()(sections(4))
    assert float(drawn.min()) < 0 < float(drawn.max())


@pytest.mark.parametrize("widths", [(8,), (8, 4, 6, 5)])
def test_any_number_of_levels(widths):
    net = network(widths=widths)
    assert net(sections()).shape == (1, 1, 64, 64)
    assert Config.from_json({"widths": list(widths)}) == net.config


def test_the_way_back_is_that_of_autograd():
    torch.manual_seed(0)
    encoder = Autoencoder(Config(widths=(4, 6, 8))).requires_grad_(False).encoder
    section = torch.randn(2, 1, 24, 32, requires_grad=True)
    states = encoder.states(section.detach())
    slope = torch.randn(states[-1].shape)
    (expected,) = torch.autograd.grad(encoder(section), section, slope)
    torch.testing.assert_close(encoder.back(states, slope), expected)
    torch.testing.assert_close(states[-1], encoder(section.detach()))
