"""The alignment network: sizes by hand, what correlations and their centre are, where an untrained one stands."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_emsynth.errors import InputError
from napari_emsynth.models import alignment_net
from napari_emsynth.models.alignment_net import AlignmentNet, Config, centre, correlate

SMALL = Config(stem=4, widths=(6, 8), state=5, hidden=7, reach=2, rounds=2)

# By hand, 3 x 3 convolutions: c_in * c_out * 9 + c_out parameters.
#   stem 1 -> 16: 160
#   encoder 16 -> 32 -> 32: 4 640 + 9 248; 32 -> 48 -> 48: 13 872 + 20 784; 48 -> 64 -> 64: 27 712 + 36 928;
#           64 -> 64 -> 64: 36 928 + 36 928; contrasts 2 * (32 + 48 + 64 + 64)
#   merges: in = 49 correlations + width + 32 state + 2 hint, -> 48 -> 48 -> 32, head 32 -> 3, one sharpness
#           in * 432 + 48, 20 784, 13 856, 867, 1
ENCODER = 160 + 4_640 + 9_248 + 13_872 + 20_784 + 27_712 + 36_928 + 36_928 + 36_928 + 2 * 208
MERGES = sum((49 + w + 32 + 2) * 432 + 48 + 20_784 + 13_856 + 867 + 1 for w in (32, 48, 64, 64))


def pair(size=(32, 48), seed=0):
    torch.manual_seed(seed)
    return torch.randn(2, 1, *size), torch.randn(2, 1, *size)


def test_parameters_are_counted_by_hand():
    assert sum(p.numel() for p in AlignmentNet().parameters()) == ENCODER + MERGES


def test_sizes_of_the_answer():
    answer = AlignmentNet(SMALL).eval()(*pair())
    assert answer.displacement.shape == (2, 2, 8, 12)
    assert answer.log_scale.shape == (2, 1, 8, 12)
    # One level at 1/8, two rounds at 1/4.
    assert [tuple(level.shape[-2:]) for level in answer.levels] == [(4, 6), (8, 12), (8, 12)]
    assert Config().multiple == 32
    assert SMALL.multiple == 8


def test_correlation_peaks_where_features_were_shifted():
    torch.manual_seed(0)
    features = F.normalize(torch.randn(1, 16, 12, 14), dim=1)
    # moving(p + u) = fixed(p) with u = (2, -1).
    moving = torch.roll(features, (2, -1), dims=(2, 3))
    found = correlate(features, moving, 2)
    assert found.shape == (1, 25, 12, 14)
    assert found.abs().max() <= 1 + 1e-5
    inner = (..., slice(3, -3), slice(3, -3))
    peak = found[inner].argmax(dim=1)
    # Row 2 + 2 of 5, column 2 - 1.
    assert (peak == 4 * 5 + 1).all()
    hint = centre(found, torch.tensor(50.0), 2)[inner]
    assert torch.allclose(hint[:, 0], torch.tensor(2.0), atol=0.05)
    assert torch.allclose(hint[:, 1], torch.tensor(-1.0), atol=0.05)


def test_features_are_calibrated_so_that_places_differ():
    network = AlignmentNet(SMALL).eval()
    sections = torch.cat(pair((64, 64)))
    with torch.inference_mode():
        before = network.encoder(sections)[0]
        network.encoder.calibrate(sections)
        after = network.encoder(sections)[0]
    # Unit length; what all places share, the mean feature, is gone.
    for features in (before, after):
        assert torch.allclose(features.norm(dim=1), torch.tensor(1.0), atol=1e-4)
    shared = [float(features.mean((0, 2, 3)).norm()) for features in (before, after)]
    assert shared[1] < 0.75 * shared[0]


def test_a_calibrated_untrained_network_sees_whole_nodes_of_shift():
    network = AlignmentNet(Config(widths=(16, 16), rounds=1)).eval()
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(1, 1, 96, 96)).astype(np.float32))
    image = F.avg_pool2d(image, 5, stride=1, padding=2) * 5
    network.encoder.calibrate(image)
    shifted = torch.roll(image, (8, 0), dims=(2, 3))
    with torch.inference_mode():
        found = network(shifted, image).displacement[..., 6:-6, 6:-6].mean((0, 2, 3))
    assert found[0] > 1.0
    assert abs(float(found[1])) < 1.0


def test_gradients_reach_every_parameter():
    network = AlignmentNet(SMALL)
    answer = network(*pair())
    (answer.displacement.square().mean() + answer.log_scale.square().mean()).backward()
    heads = [m.head.weight.grad for m in network.merges]
    assert all(g is not None and g.abs().sum() > 0 for g in heads)


def test_configurations_survive_json_and_nonsense_is_refused():
    assert Config.from_json(SMALL.to_json()) == SMALL
    with pytest.raises(InputError, match="unknown sizes"):
        Config.from_json({"width": 3})
    with pytest.raises(InputError, match="at least 1"):
        Config(reach=0)


@pytest.mark.parametrize(("size", "at_once"), [((5, 37), 1 << 14), ((6, 16), 40), ((3, 2), 1 << 14), ((1, 1), 1)])
def test_correlations_are_products_with_every_shift(monkeypatch, size, at_once):
    monkeypatch.setattr(alignment_net, "AT_ONCE", at_once)
    rng = torch.Generator().manual_seed(0)
    fixed, moving = (torch.randn(2, 4, *size, generator=rng) for _ in range(2))
    found = correlate(fixed, moving, 2)
    wide = torch.nn.functional.pad(moving, (2, 2, 2, 2))
    h, w = size
    for k in range(25):
        i, j = divmod(k, 5)
        expected = (fixed * wide[:, :, i : i + h, j : j + w]).sum(dim=1)
        torch.testing.assert_close(found[:, k], expected, atol=1e-5, rtol=1e-5)
