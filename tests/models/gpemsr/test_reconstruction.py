"""The reconstruction layers: sizes by hand, and where they start."""

import torch

from napari_emsynth.models.gpemsr.reconstruction import Reconstruction, doublings


def test_the_last_number_of_maps_serves_all_further_doublings():
    assert doublings(8, (48, 32, 16)) == (48, 32, 16)
    assert doublings(16, (48, 32, 16)) == (48, 32, 16, 16)
    assert doublings(2, (48, 32)) == (48,)


def test_parameters_are_counted_by_hand():
    # Ten blocks of two 64 -> 64, a trunk 64 -> 64, doublings 64 -> 4 * 64 three times, a head 64 -> 1.
    def convolution(a, b):
        return 9 * a * b + b

    by_hand = 21 * convolution(64, 64) + 3 * convolution(64, 256) + convolution(64, 1)
    made = Reconstruction(64, 10, doublings(8, (64,)), outputs=1)
    assert sum(p.numel() for p in made.parameters()) == by_hand == 1_219_201


def test_it_starts_at_nothing_and_keeps_edges():
    torch.manual_seed(0)
    made = Reconstruction(4, 1, doublings(8, (4,)), outputs=2).eval()
    features = torch.randn(1, 4, 9, 9)
    assert made(features).shape == (1, 2, 72, 72)
    assert (made(features) == 0).all()
    torch.nn.init.normal_(made.head.weight)
    nudged = features.clone()
    nudged[..., 4, 4] += 1
    rows = torch.nonzero((made(nudged) - made(features))[0, 0].abs().amax(dim=1) > 0)[:, 0]
    assert (int(rows[0]) + int(rows[-1])) / 2 == 8 * 4.5 - 0.5
