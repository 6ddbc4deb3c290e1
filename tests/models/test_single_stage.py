"""The plain super-resolution network: its size by hand, where it starts, and where its pixels lie."""

import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.models.single_stage import Config, SingleStage
from napari_emsynth.nn.lateral import enlarged

TINY = {"width": 6, "blocks": 2, "fine": (5, 4)}


def network(**sizes):
    torch.manual_seed(0)
    return SingleStage(Config(**{**TINY, **sizes})).eval()


def awake(net):
    """The head starts at zero; give it something to say."""
    torch.nn.init.normal_(net.head.weight, std=0.1)
    return net


def sections(edge=8, n=5):
    return torch.randn(2, n, edge, edge + 2, generator=torch.Generator().manual_seed(1))


def convolution(a, b):
    return 9 * a * b + b


@pytest.mark.parametrize(("factor", "count"), [(8, 815_714), (16, 824_994)])
def test_parameters_are_counted_by_hand(factor, count):
    # Stem 5 -> 64, 8 blocks of two 64 -> 64, trunk 64 -> 64; doublings 64 -> 4 * 48, 48 -> 4 * 32, 32 -> 4 * 16 and
    # for x16 16 -> 4 * 16; head 16 -> 2.
    by_hand = convolution(5, 64) + 17 * convolution(64, 64) + convolution(16, 2)
    by_hand += convolution(64, 192) + convolution(48, 128) + convolution(32, 64)
    by_hand += convolution(16, 64) if factor == 16 else 0
    assert sum(p.numel() for p in SingleStage(Config(factor=factor)).parameters()) == by_hand == count


@pytest.mark.parametrize("factor", [2, 8, 16])
def test_training_starts_at_bicubic_enlargement(factor):
    mean, log_scale = network(factor=factor)(sections())
    assert mean.shape == log_scale.shape == (2, 1, 8 * factor, 10 * factor)
    torch.testing.assert_close(mean, enlarged(sections()[:, 2:3], factor))
    assert (log_scale == -1).all()


@pytest.mark.parametrize("factor", [8, 16])
def test_what_a_pixel_reaches_is_centred_on_it(factor):
    net = awake(network(factor=factor))
    at, n = 20, 41
    x = torch.randn(1, 5, n, n, generator=torch.Generator().manual_seed(0))
    nudged = x.clone()
    nudged[0, :, at, at] += 1.0
    with torch.no_grad():
        change = (net(nudged)[0] - net(x)[0])[0, 0].abs()
    for axis in (0, 1):
        rows = torch.nonzero(change.amax(dim=1 - axis) > 0)[:, 0]
        first, last = int(rows[0]), int(rows[-1])
        assert (first + last) / 2 == pytest.approx(factor * (at + 0.5) - 0.5, abs=0.5)
        # No further than the halo promises, and the promise is tight to a pixel.
        assert factor * (net.config.halo - 1) <= factor * at - first <= factor * net.config.halo


def test_neighbours_count():
    net = awake(network())
    x = sections()
    for i in range(5):
        changed = x.clone()
        changed[:, i] += 1.0
        assert not torch.allclose(net(changed)[0], net(x)[0])


def test_gradients_reach_every_parameter():
    net = awake(network())
    mean, log_scale = net(sections())
    (mean.square().mean() + log_scale.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_configurations_survive_json_and_nonsense_is_refused():
    assert Config.from_json({"factor": 16, "fine": [8, 4]}) == Config(factor=16, fine=(8, 4))
    with pytest.raises(InputError, match="power of two"):
        Config(factor=12)
    with pytest.raises(InputError, match="odd number"):
        Config(sections=4)
    with pytest.raises(InputError, match="at least 1"):
        Config(fine=())
