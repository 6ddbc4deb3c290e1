"""Blocks around leaky rectifiers."""

import torch

from napari_emsynth.nn.rectified import levelled


def test_levelled_features_have_even_strength_and_keep_their_direction():
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)) * 30
    even = levelled(x, maps=1)
    torch.testing.assert_close(even.square().mean(dim=1), torch.ones(2, 3, 4), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cosine_similarity(even, x), torch.ones(2, 3, 4))
    assert not levelled(torch.zeros(1, 5, 3, 4), maps=1).any()
