"""Laws of the contextual loss."""

import torch

from napari_emsynth.nn.contextual import contextual_loss


def features(seed=0):
    return torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(seed))


def test_an_image_is_most_like_itself():
    same = contextual_loss(features(), features())
    assert 0 <= float(same) < 0.01
    assert float(contextual_loss(features(), features(1))) > 10 * float(same) + 0.1


def test_places_may_change_places():
    order = torch.randperm(35, generator=torch.Generator().manual_seed(0))
    moved = features().flatten(2)[..., order].reshape(2, 6, 5, 7)
    near = (features(1) + features()) / 2
    torch.testing.assert_close(contextual_loss(moved, near), contextual_loss(features(), near))


def test_some_places_can_be_compared():
    places = torch.arange(0, 35, 3)
    some = contextual_loss(features(), features(1), places)
    a, b = (features(s).flatten(2)[..., places][..., None] for s in (0, 1))
    torch.testing.assert_close(some, contextual_loss(a, b))


def test_its_gradient_makes_an_image_more_alike():
    a = features().requires_grad_()
    loss = contextual_loss(a, features(1))
    (grad,) = torch.autograd.grad(loss, a)
    assert torch.isfinite(grad).all()
    step = 0.1 * a.detach().norm() / grad.norm()
    assert contextual_loss(a.detach() - step * grad, features(1)) < loss
