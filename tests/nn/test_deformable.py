"""Laws of deformable convolution."""

import pytest
import torch
import torch.nn.functional as F

from napari_emsynth.nn.deformable import TAPS, DeformableConv, sampled

GROUPS = 2


def made(c_in=4, c_out=3, size=(7, 6)):
    torch.manual_seed(0)
    layer = DeformableConv(c_in, c_out, GROUPS)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, c_in, *size)
    offsets = torch.zeros(2, GROUPS * TAPS * 2, *size)
    return layer, x, offsets, torch.ones(2, GROUPS * TAPS, *size)


def test_at_rest_it_is_the_plain_convolution():
    layer, x, offsets, ones = made()
    plain = F.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x, offsets, ones), plain)


@pytest.mark.parametrize("size", [(1, 5), (1, 1)])
def test_images_of_one_pixel_have_a_border_too(size):
    layer, x, offsets, ones = made(size=size)
    torch.testing.assert_close(layer(x, offsets, ones), F.conv2d(x, layer.weight, layer.bias, padding=1))


def test_whole_offsets_shift_the_input():
    layer, x, offsets, ones = made()
    offsets[:, 0::2], offsets[:, 1::2] = 2.0, -1.0
    # x(p + (2, -1)): two rows further down, one column to the left; zeros come in.
    moved = F.pad(x, (1, 0, 0, 2))[:, :, 2:, :-1]
    torch.testing.assert_close(sampled(x, offsets, GROUPS)[:, :, :, 4].reshape(x.shape), moved)
    inner = (..., slice(1, -3), slice(2, -1))
    shifted = F.conv2d(F.pad(moved, (1, 1, 1, 1)), layer.weight, layer.bias)
    torch.testing.assert_close(layer(x, offsets, ones)[inner], shifted[inner])


def test_groups_move_on_their_own():
    _, x, offsets, _ = made()
    offsets[:, TAPS * 2 :: 2] = 1.0  # dy of the second group
    seen = sampled(x, offsets, GROUPS)[:, :, :, 4]
    torch.testing.assert_close(seen[:, 0], x[:, :2])
    torch.testing.assert_close(seen[:, 1, :, :-1], x[:, 2:, 1:])


def test_taps_count_row_by_row():
    _, x, offsets, _ = made()
    seen = sampled(x, offsets, GROUPS).reshape(2, 4, TAPS, 7, 6)
    unfolded = F.unfold(x, 3, padding=1).reshape(2, 4, TAPS, 7, 6)
    torch.testing.assert_close(seen, unfolded)


def test_modulation_weighs_every_tap():
    layer, x, offsets, ones = made()
    rest = layer(x, offsets, ones) - layer.bias[:, None, None]
    half = layer(x, offsets, 0.5 * ones) - layer.bias[:, None, None]
    torch.testing.assert_close(half, 0.5 * rest)
    ones[:, 4::TAPS] = 0.0  # the middle tap of each group
    without = layer.weight.clone()
    without[:, :, 1, 1] = 0
    torch.testing.assert_close(layer(x, offsets, ones), F.conv2d(x, without, layer.bias, padding=1))


def test_gradients_are_finite_and_reach_everything_even_far_outside():
    layer, x, offsets, ones = made()
    offsets += torch.randn(offsets.shape, generator=torch.Generator().manual_seed(1)) * 4
    inputs = [t.requires_grad_() for t in (x, offsets, ones)]
    layer(*inputs).square().sum().backward()
    for tensor in (*inputs, layer.weight, layer.bias):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


def test_the_gradient_of_the_offsets_is_the_slope():
    torch.manual_seed(0)
    layer, x, offsets, ones = (t.double() for t in made(size=(4, 5)))
    # Away from whole pixels, where bilinear interpolation has a kink.
    offsets = (0.2 + 0.6 * torch.rand(offsets.shape)).double()
    near = offsets.clone()
    near[0, 5, 2, 2] += 1e-2
    offsets.requires_grad_()
    before = layer(x, offsets, ones).sum()
    (slope,) = torch.autograd.grad(before, offsets)
    rise = float((layer(x, near, ones).sum() - before).detach()) / 1e-2
    assert float(slope[0, 5, 2, 2]) == pytest.approx(rise, rel=2e-2, abs=2e-3)


def test_it_agrees_with_the_operator_of_torchvision():
    ops = pytest.importorskip("torchvision.ops")
    layer, x, offsets, ones = made()
    generator = torch.Generator().manual_seed(2)
    offsets = 2 * torch.randn(offsets.shape, generator=generator)
    ones = torch.rand(ones.shape, generator=generator)
    theirs = ops.deform_conv2d(x, offsets, layer.weight, layer.bias, padding=1, mask=ones)
    torch.testing.assert_close(layer(x, offsets, ones), theirs, rtol=1e-4, atol=1e-5)
