"""ssEMnet's energy, term by term."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align import ssemnet_energy as energy

WHOLE = (slice(0, 16), slice(0, 24))


def shifted(dy, dx):
    like = torch.zeros(16, 24)
    return energy.pixels(*WHOLE, like) + torch.tensor([dy, dx]).view(2, 1, 1)


def test_a_zero_map_pulls_every_pixel_from_itself():
    section = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(energy.pulled(section, shifted(0.0, 0.0)), section, atol=1e-5, rtol=0)


def test_pulled_shows_what_lies_at_p_plus_u_and_repeats_the_edge():
    section = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    seen = energy.pulled(section, shifted(3.0, -2.0))
    torch.testing.assert_close(seen[:13, 2:], section[3:, :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[13:, 2:], section[15:, :-2].expand(3, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-1.0, 5.0), (2.6, 0.4), (0.0, 0.0)])
def test_the_mask_removes_exactly_what_a_known_shift_leaves_empty(shift):
    mask = energy.not_empty(torch.ones(16, 24), shifted(*shift)).numpy() > 0
    y, x = np.mgrid[:16, :24]
    expected = (np.rint(y + shift[0]) >= 0) & (np.rint(y + shift[0]) <= 15)
    expected &= (np.rint(x + shift[1]) >= 0) & (np.rint(x + shift[1]) <= 23)
    assert (mask == expected).all()


def test_what_is_not_known_moves_with_the_section():
    known = torch.ones(16, 24)
    known[4:8, 10:12] = 0
    mask = energy.not_empty(known, shifted(0.0, 3.0))
    assert (mask[4:8, 7:9] == 0).all()
    assert mask.sum() == 16 * 21 - 8


def test_the_mask_at_the_features():
    full = energy.of_features(torch.ones(32, 48), (4, 6))
    torch.testing.assert_close(full, torch.ones(4, 6))
    mask = torch.ones(32, 48)
    mask[:, 24:] = 0
    row = energy.of_features(mask, (4, 6))[1]
    assert (row.diff() <= 0).all()
    assert (row[0], row[5]) == (1, 0)
    assert float(row.mean()) == pytest.approx(0.5, abs=1e-5)


def test_no_gradient_goes_through_the_mask():
    u = torch.zeros(2, 1, 1, requires_grad=True)
    at = energy.pixels(*WHOLE, torch.zeros(1)) + u
    assert not energy.not_empty(torch.ones(16, 24), at).requires_grad


def test_the_dropped_share_halves_in_every_iteration():
    assert [energy.dropped_share(k) for k in range(4)] == [0.5, 0.25, 0.125, 0.0625]
    assert energy.dropped_share(2, first=0.8) == pytest.approx(0.2)


@pytest.mark.parametrize(("share", "left"), [(0.5, 50), (0.25, 75), (0.125, 88), (0.001, 100), (0.0, 100)])
def test_the_worst_features_are_dropped(share, left):
    errors = torch.randperm(100, generator=torch.Generator().manual_seed(0)).float().view(10, 10)
    highest = energy.highest_kept(errors, torch.ones(10, 10), share)
    k = energy.kept(errors, highest)
    assert int(k.sum()) == left
    assert (errors[k > 0] < left).all()


def test_empty_places_do_not_count_among_the_dropped():
    errors = torch.arange(100.0).view(10, 10)
    mask = torch.ones(10, 10)
    mask[5:] = 0  # the largest errors are where there is nothing
    assert energy.highest_kept(errors, mask, 0.5) == 24
    assert energy.highest_kept(errors, torch.zeros(10, 10), 0.5) == float("inf")


def test_the_difference_by_hand():
    a, b = torch.zeros(4, 2, 3), torch.zeros(4, 2, 3)
    a[0, 0, 1], b[1, 0, 1] = 2.0, 4.0
    expected = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 0.0]])  # (4 + 16) / 4 maps
    torch.testing.assert_close(energy.difference(a, b), expected)


def test_neighbours_speak_by_their_weight_where_they_are_known():
    errors = [torch.full((2, 2), 3.0), torch.full((2, 2), 5.0)]
    masks = [torch.ones(2, 2), torch.tensor([[1.0, 0.5], [0.0, 0.0]])]
    assert float(energy.data_sum(errors, masks, [1.0, 0.5])) == pytest.approx(4 * 3 + 0.5 * 1.5 * 5)


def test_the_magnitude_by_hand():
    v = torch.zeros(2, 2, 2)
    v[:, 0, 0] = torch.tensor([3.0, 4.0])
    assert float(energy.magnitude(v)) == pytest.approx(25 / 4)


def test_the_roughness_of_a_slope_is_its_square():
    ramp = 0.1 * torch.arange(5.0)[:, None] * 20 + 0.3 * torch.arange(4.0)[None] * 10
    assert float(energy.roughness(ramp, (20.0, 10.0))) == pytest.approx(0.1**2 + 0.3**2, rel=1e-4)
    assert float(energy.roughness(torch.full((5, 4), 7.0), (20.0, 10.0))) == 0
    assert float(energy.roughness(torch.ones(1, 1), (20.0, 10.0))) == 0


def test_beta_is_for_dx_and_gamma_for_dy():
    v = torch.zeros(2, 3, 3)
    v[0] = torch.arange(3.0)[:, None]  # dy grows by 1 px every 10 px
    assert float(energy.regulariser(v, (10.0, 10.0), 0.0, 5.0, 0.0)) == 0
    assert float(energy.regulariser(v, (10.0, 10.0), 0.0, 0.0, 5.0)) == pytest.approx(5 * 0.01)
    assert float(energy.regulariser(v, (10.0, 10.0), 2.0, 0.0, 0.0)) == pytest.approx(2 * 5 / 3)
