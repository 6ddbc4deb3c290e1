import pytest
import torch

from napari_emsynth.nn.pyramid import blur, laplacian, laplacian_l1
from napari_emsynth.nn.warp import between, followed, inside, inverted, upsample_flow, warp


def image(h=12, w=17):
    return torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(0))


def fields():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    a = torch.stack((torch.sin(x / 9), torch.cos(y / 7)))[None]
    b = torch.stack((2 + torch.cos(x / 8), torch.sin(y / 6) - 1))[None]
    return a, b


def test_zero_displacement_is_the_identity():
    torch.testing.assert_close(warp(image(), torch.zeros(2, 2, 12, 17)), image())


def test_integer_displacement_is_an_exact_pull():
    flow = torch.zeros(2, 2, 12, 17)
    flow[:, 0], flow[:, 1] = 2, -3  # out(y, x) = in(y + 2, x - 3)
    torch.testing.assert_close(warp(image(), flow)[:, :, :10, 3:], image()[:, :, 2:, :14])


def test_beyond_the_border_the_nearest_pixel_is_repeated():
    flow = torch.zeros(2, 2, 12, 17)
    flow[:, 0] = 100
    torch.testing.assert_close(warp(image(), flow), image()[:, :, -1:].expand(2, 3, 12, 17))


def test_warping_passes_gradients_to_the_displacement():
    flow = torch.full((2, 2, 12, 17), 0.3, requires_grad=True)
    warp(image(), flow).square().sum().backward()
    assert flow.grad is not None
    assert float(flow.grad.abs().max()) > 0


def test_upsampled_flow_scales_its_vectors():
    flow = torch.ones(1, 2, 4, 4)
    out = upsample_flow(flow, (8, 8))
    assert out.shape == (1, 2, 8, 8)
    torch.testing.assert_close(out, torch.full_like(out, 2.0))


def volume():
    return torch.rand(2, 1, 6, 9, 8, generator=torch.Generator().manual_seed(0))


def test_zero_displacement_is_the_identity_in_three_dimensions():
    torch.testing.assert_close(warp(volume(), torch.zeros(2, 3, 6, 9, 8)), volume())


def test_integer_displacement_is_an_exact_pull_in_three_dimensions():
    flow = torch.zeros(2, 3, 6, 9, 8)
    flow[:, 0], flow[:, 1], flow[:, 2] = 1, 2, -3  # out(z, y, x) = in(z + 1, y + 2, x - 3)
    torch.testing.assert_close(warp(volume(), flow)[:, :, :5, :7, 3:], volume()[:, :, 1:, 2:, :5])


def test_a_fraction_of_a_voxel_is_linear_between_the_two():
    flow = torch.zeros(2, 3, 6, 9, 8)
    flow[:, 0] = 0.25
    expected = 0.75 * volume()[:, :, :-1] + 0.25 * volume()[:, :, 1:]
    torch.testing.assert_close(warp(volume(), flow)[:, :, :-1], expected)


def test_a_volume_of_equal_sections_moves_as_its_sections_do():
    flow = torch.randn(2, 2, 12, 17, generator=torch.Generator().manual_seed(1))
    thick = torch.cat((torch.zeros(2, 1, 12, 17), flow), dim=1)[:, :, None].expand(-1, -1, 4, -1, -1)
    stack = image()[:, :, None].expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(warp(stack, thick)[:, :, 2], warp(image(), flow), atol=1e-5, rtol=1e-5)


def test_upsampled_flow_scales_its_vectors_in_three_dimensions():
    out = upsample_flow(torch.ones(1, 3, 2, 3, 4), (4, 6, 8))
    torch.testing.assert_close(out, torch.full((1, 3, 4, 6, 8), 2.0))


@pytest.mark.parametrize("size", [(5, 7), (4, 5, 6)])
def test_inside_is_where_the_pull_stays_within(size):
    flow = torch.zeros(1, len(size), *size)
    assert bool((inside(flow) == 1).all())
    flow[:, -1] = 2.0
    found = inside(flow)
    assert bool((found[..., : size[-1] - 2] == 1).all())
    assert bool((found[..., size[-1] - 2 :] == 0).all())
    flow[:, 0] = -0.5  # also half a px beyond the first row or section
    assert bool((inside(flow)[:, :, 0] == 0).all())


def test_blur_keeps_constants():
    torch.testing.assert_close(blur(torch.full((1, 2, 5, 7), 3.0)), torch.full((1, 2, 5, 7), 3.0))


def test_pyramid_is_linear_and_complete():
    a, b = image(16, 16), image(16, 16).flip(-1)
    for x, y, z in zip(laplacian(a, 2), laplacian(b, 2), laplacian(a + 2 * b, 2), strict=True):
        torch.testing.assert_close(x + 2 * y, z)


def test_pyramid_loss_is_zero_only_for_equal_images():
    a = image(16, 16)[:, :1]
    assert float(laplacian_l1(a, a)) == 0
    assert float(laplacian_l1(a, a + 1)) > 0.1


def test_pyramid_loss_ignores_pixels_of_weight_zero():
    a = torch.zeros(1, 1, 32, 32)
    b, weight = a.clone(), torch.ones_like(a)
    weight[..., :16] = 0
    b[..., 4] = 5.0  # far from the border of the weights
    assert float(laplacian_l1(a, b, weight, levels=1)) == pytest.approx(0, abs=1e-6)
    assert float(laplacian_l1(a, b)) > 0


def test_between_undoes_one_field_and_does_the_other():
    a, b = fields()
    u = between(a, b)
    torch.testing.assert_close(u, a - warp(b, u), atol=0.02, rtol=0)
    torch.testing.assert_close(followed(u, b), a, atol=0.02, rtol=0)
    torch.testing.assert_close(between(a, torch.zeros_like(a)), a)


def test_a_field_followed_by_its_inverse_is_nothing():
    for u in fields():
        inner = (..., slice(6, -6), slice(6, -6))
        for first, then in ((u, inverted(u)), (inverted(u), u)):
            torch.testing.assert_close(followed(first, then)[inner], 0 * u[inner], atol=0.05, rtol=0)


def test_following_is_warping_twice():
    first, then = (u.round() for u in fields())
    seen = torch.rand(1, 1, 48, 40, generator=torch.Generator().manual_seed(0))
    inner = (..., slice(6, -6), slice(6, -6))
    twice, once = warp(warp(seen, then), first), warp(seen, followed(first, then))
    torch.testing.assert_close(once[inner], twice[inner])
