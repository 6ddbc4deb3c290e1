"""Laws of area reduction and bicubic enlargement."""

import pytest
import torch

from napari_emsynth.nn.lateral import enlarged, reduced


@pytest.mark.parametrize("factor", [2, 8, 16])
def test_constants_stay(factor):
    image = torch.full((1, 1, 3 * factor, 2 * factor), 1.7)
    torch.testing.assert_close(reduced(image, factor), torch.full((1, 1, 3, 2), 1.7))
    torch.testing.assert_close(enlarged(torch.full((1, 1, 3, 2), 1.7), factor), image)


def test_reducing_what_was_repeated_gives_it_back():
    image = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    repeated = image.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    torch.testing.assert_close(reduced(repeated, 8), image)


@pytest.mark.parametrize("factor", [8, 16])
def test_a_pixel_is_enlarged_about_its_own_centre(factor):
    image = torch.zeros(1, 1, 9, 11)
    image[..., 4, 6] = 1.0
    fine = enlarged(image, factor)[0, 0]
    centres = [float((fine.sum(dim=1 - axis) * torch.arange(fine.shape[axis])).sum() / fine.sum()) for axis in (0, 1)]
    assert centres == pytest.approx([factor * 4.5 - 0.5, factor * 6.5 - 0.5], abs=1e-2)


def test_what_does_not_fill_a_pixel_is_cut():
    assert reduced(torch.zeros(1, 1, 17, 24), 8).shape == (1, 1, 2, 3)
