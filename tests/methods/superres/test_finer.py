"""Networks whose answer is larger than what they see, run tile by tile."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_emsynth.methods.superres.finer import Folded, completed, computed, unfolded
from napari_emsynth.spec import Runtime

CPU = Runtime(device="cpu")


class Halves(nn.Module):
    """Means of 2 x 2 px, as fine as the answer has to be: sees only whole pairs."""

    def forward(self, sections):
        assert sections.shape[-1] % 2 == 0
        assert sections.shape[-2] % 2 == 0
        means = nn.functional.avg_pool2d(sections[:, :1], 2)
        return means.repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2)


def sections(y, x):
    return np.random.default_rng(0).normal(size=(3, y, x)).astype(np.float32)


def test_folding_changes_no_value():
    fine = torch.arange(2 * 8 * 12.0).reshape(1, 2, 8, 12)
    folded = Folded(nn.Identity(), 4)(fine)[0].numpy()
    assert folded.shape == (32, 2, 3)
    np.testing.assert_array_equal(unfolded(folded, 4), fine[0])


def test_unfolding_is_the_inverse_of_folding():
    fine = torch.randn(1, 2, 24, 40)
    folded = F.pixel_unshuffle(fine, 8)[0].numpy()
    np.testing.assert_array_equal(unfolded(folded, 8), fine[0].numpy())


def test_sections_are_mirrored_about_their_edges():
    block = sections(5, 8)
    whole = completed(block, 4)
    assert whole.shape == (3, 8, 8)
    np.testing.assert_array_equal(whole[:, :5], block)
    np.testing.assert_array_equal(whole[:, 5:], block[:, :1:-1])
    assert completed(block[:, :4], 4).shape == (3, 4, 8)


@pytest.mark.parametrize("tile", [None, 4])
def test_the_last_pixel_of_an_odd_section_is_seen_twice_and_nothing_else_is(tile):
    block = sections(7, 6)
    runtime = CPU if tile is None else Runtime(device="cpu", tile=tile)
    answer = computed(Halves(), block, 4, halo=2, runtime=runtime, multiple=2)
    assert answer.shape == (1, 28, 24)
    np.testing.assert_allclose(answer[0, 24:, :8], block[0, 6, :2].mean(), atol=1e-6)
    np.testing.assert_allclose(answer[0, :8, :8], block[0, :2, :2].mean(), atol=1e-6)


def test_a_network_with_strides_is_given_what_it_needs():
    seen = []

    def network(low):
        seen.append(low.shape[-2:])
        return F.interpolate(low[:, :1], scale_factor=4)

    drawn = computed(network, sections(10, 14), 4, halo=2, runtime=CPU, multiple=4)
    assert all(n % 4 == 0 for size in seen for n in size)
    np.testing.assert_array_equal(drawn[0, ::4, ::4], sections(10, 14)[0])
