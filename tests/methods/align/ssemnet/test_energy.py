"""ssEMnet's energy, term by term, and how each falls."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align.ssemnet import energy

SHAPE = (16, 24)


def section(seed=0, shape=SHAPE):
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def shifted(dy, dx, shape=SHAPE):
    """Places of every pixel, (dy, dx) px further on."""
    (y, x), (h, w) = np.indices(shape), shape
    at = np.stack((2 * (x + dx) / (w - 1) - 1, 2 * (y + dy) / (h - 1) - 1), axis=-1)
    return torch.from_numpy(at.astype(np.float32))[None]


def test_places_that_are_pixels_show_the_section():
    torch.testing.assert_close(energy.pulled(section(), shifted(0, 0)), section(), atol=1e-5, rtol=0)


def test_pulled_shows_what_lies_at_p_plus_u_and_repeats_the_edge():
    image, seen = section()[0, 0], energy.pulled(section(), shifted(3.0, -2.0))[0, 0]
    torch.testing.assert_close(seen[:13, 2:], image[3:, :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[13:, 2:], image[15:, :-2].expand(3, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-1.0, 5.0), (2.6, 0.4), (0.0, 0.0)])
def test_the_mask_removes_exactly_what_a_known_shift_leaves_empty(shift):
    mask = energy.not_empty(torch.ones(1, 1, *SHAPE), shifted(*shift))[0, 0].numpy() > 0
    y, x = np.mgrid[:16, :24]
    expected = (np.rint(y + shift[0]) >= 0) & (np.rint(y + shift[0]) <= 15)
    expected &= (np.rint(x + shift[1]) >= 0) & (np.rint(x + shift[1]) <= 23)
    assert (mask == expected).all()


def test_what_is_not_known_moves_with_the_section():
    known = torch.ones(1, 1, *SHAPE)
    known[..., 4:8, 10:12] = 0
    mask = energy.not_empty(known, shifted(0.0, 3.0))[0, 0]
    assert (mask[4:8, 7:9] == 0).all()
    assert mask.sum() == 16 * 21 - 8


def test_the_mask_at_the_features():
    full = energy.of_features(torch.ones(1, 1, 32, 48), (4, 6))
    torch.testing.assert_close(full, torch.ones(1, 1, 4, 6))
    mask = torch.ones(1, 1, 32, 48)
    mask[..., 24:] = 0
    row = energy.of_features(mask, (4, 6))[0, 0, 1]
    assert (row.diff() <= 0).all()
    assert (row[0], row[5]) == (1, 0)
    assert float(row.mean()) == pytest.approx(0.5, abs=1e-5)


def test_no_gradient_goes_through_the_mask():
    places = shifted(0.5, 0.5).requires_grad_()
    assert not energy.not_empty(torch.ones(1, 1, *SHAPE), places).requires_grad


def test_the_dropped_share_halves_in_every_iteration():
    assert [energy.dropped_share(k) for k in range(4)] == [0.5, 0.25, 0.125, 0.0625]
    assert energy.dropped_share(2, first=0.8) == pytest.approx(0.2)


@pytest.mark.parametrize(("share", "left"), [(0.5, 50), (0.25, 75), (0.125, 88), (0.001, 100), (0.0, 100)])
def test_the_worst_features_are_dropped(share, left):
    errors = torch.randperm(100, generator=torch.Generator().manual_seed(0)).float().view(1, 1, 10, 10)
    highest = energy.highest_kept(errors, torch.ones(1, 1, 10, 10), share)
    k = energy.kept(errors, highest)
    assert int(k.sum()) == left
    assert (errors[k > 0] < left).all()


def test_empty_places_do_not_count_among_the_dropped():
    errors = torch.arange(100.0).view(1, 1, 10, 10)
    mask = torch.ones(1, 1, 10, 10)
    mask[..., 5:, :] = 0  # the largest errors are where there is nothing
    assert energy.highest_kept(errors, mask, 0.5).item() == 24
    assert energy.highest_kept(errors, torch.zeros(1, 1, 10, 10), 0.5).item() == float("inf")


def test_every_neighbour_of_every_section_drops_its_own():
    errors = torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    mask = (torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(1)) > 0.3).float()
    together = energy.highest_kept(errors, mask, 0.3)
    for b in range(2):
        for n in range(3):
            known = errors[b, n][mask[b, n] > 0]
            assert together[b, n] == known.kthvalue(len(known) - int(0.3 * len(known))).values


def test_the_difference_by_hand():
    a, b = torch.zeros(1, 2, 4, 2, 3), torch.zeros(1, 4, 2, 3)
    a[0, 1, 0, 0, 1], b[0, 1, 0, 1] = 2.0, 4.0
    expected = torch.zeros(1, 2, 2, 3)
    expected[0, 0, 0, 1], expected[0, 1, 0, 1] = 16 / 4, (4 + 16) / 4  # the mean over 4 maps
    torch.testing.assert_close(energy.difference(a, b), expected)


@pytest.mark.parametrize(("nodes", "others"), [(5, 4), (2, 1), (1, 6)])
def test_bending_is_the_mean_squared_slope(nodes, others):
    v = np.random.default_rng(0).normal(size=(nodes, others))
    squares = np.diff(v, axis=0) / 20.0
    expected = (squares**2).mean() if squares.size else 0.0
    assert np.einsum("ik,ij,jk->", v, energy.bending(nodes, 20.0, others), v) == pytest.approx(expected)
