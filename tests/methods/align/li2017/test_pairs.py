"""Li & Fan 2017 on pairs of sections: the sign of a shift, what optimising a pair gains, and what is not answered."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import Cancelled
from napari_emsynth.methods.align.li2017.loss import LossConfig
from napari_emsynth.methods.align.li2017.method import Li2017, LiFanParams, at_nodes, build, smoothed
from napari_emsynth.methods.align.li2017.optimise import padded, window
from napari_emsynth.methods.align.li2017.pair import Judged, forward, judge, pulled
from napari_emsynth.methods.align.protocol import Neighbour
from napari_emsynth.models.li2017 import Config, LiFan
from napari_emsynth.spec import CancelToken, Runtime

CPU = Runtime(device="cpu")


def texture(shape, seed=0):
    found = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    return (found / found.std()).astype(np.float32)


def shifted(shape=(56, 64), by=(2, -1)):
    """A fixed section and a moving one whose content lies further along by (dy, dx) px."""
    wide = texture(tuple(n + 16 for n in shape))
    (h, w), (dy, dx) = shape, by
    return wide[8 : 8 + h, 8 : 8 + w], wide[8 - dy : 8 - dy + h, 8 - dx : 8 - dx + w]


def small(seed=0, **params):
    torch.manual_seed(seed)
    return Li2017(LiFan(Config(widths=(8, 16, 24))), LiFanParams(**params))


def wilful(seed=0, **params):
    """A network that moves things at random."""
    method = small(seed, **params)
    with torch.no_grad():
        for head in method.network.heads:
            head.weight.normal_(0, 0.05)
    return method


def test_optimised_from_scratch_a_pair_gives_the_shift_with_the_right_sign():
    fixed, moving = shifted()
    method = small(refine="scratch", iterations=60, learning_rate=5e-3, step_px=8)
    found = method(moving, [Neighbour(fixed)], None, CPU)
    assert found.displacement.shape == (2, 7, 8)
    inner = found.displacement[:, 1:-1, 1:-1]
    # moving(p + u) = fixed(p): what lies at p in the fixed section lies at p + (2, -1) in the moving one.
    assert inner[0].mean() == pytest.approx(2, abs=0.3)
    assert inner[1].mean() == pytest.approx(-1, abs=0.3)
    assert found.confidence[1:-1, 1:-1].mean() > 0.7
    assert found.notes["similarity_refined"] > found.notes["similarity_before"] + 0.3
    assert found.notes["loss_refined"] < found.notes["loss_before"]


def test_from_scratch_no_weights_are_needed_and_a_seed_gives_the_same_answer():
    fixed, moving = shifted((32, 32))
    params = LiFanParams(refine="scratch", iterations=2, step_px=8)
    a, b = (build(params, CPU, None)(moving, [Neighbour(fixed)], None, CPU) for _ in range(2))
    assert a.displacement.any()
    np.testing.assert_array_equal(a.displacement, b.displacement)


def test_optimising_goes_on_from_the_network_s_own_answer():
    fixed, moving = shifted(by=(1, 1))
    method = wilful()
    method.params = LiFanParams(refine="trained", iterations=40, learning_rate=2e-3)
    notes = method(moving, [Neighbour(fixed)], None, CPU).notes
    assert set(notes) == {
        f"{what}_{when}" for what in ("similarity", "loss") for when in ("before", "forward", "refined")
    }
    assert notes["loss_refined"] < notes["loss_forward"]
    before = [p.detach().clone() for p in method.network.parameters()]
    method(moving, [Neighbour(fixed)], None, CPU)
    assert all(bool((a == b).all()) for a, b in zip(before, method.network.parameters(), strict=True))


def test_an_optimisation_that_goes_astray_is_not_answered():
    fixed, moving = shifted(by=(0, 0))
    method = small(refine="trained", iterations=3, learning_rate=0.1)
    found = method(moving, [Neighbour(fixed)], None, CPU)
    assert found.notes["loss_refined"] > found.notes["loss_before"]
    assert float(np.abs(found.displacement).max()) == 0


def test_without_optimisation_the_network_s_own_answer_is_taken():
    fixed, moving = shifted()
    method = wilful(passes=1, smooth_px=0.0)
    found = method(moving, [Neighbour(fixed)], None, CPU)
    expected = forward(method.network, np.stack((fixed, moving)), CPU)
    np.testing.assert_allclose(found.displacement, at_nodes(expected, (4, 4)), atol=1e-5)
    assert "similarity_refined" not in found.notes


def test_what_is_asked_twice_is_composed():
    class Halfway(torch.nn.Module):
        """Moves by half of what is left to a displacement that it knows the moving image by."""

        config = Config(widths=(8, 8), heads=1)

        def forward(self, pair):
            # The images are ramps: their difference is the shift that is left.
            left = (pair[:, :1] - pair[:, 1:]) / 2
            return [torch.cat((left, torch.zeros_like(left)), dim=1)]

    ramp = np.arange(40, dtype=np.float32)[:, None].repeat(30, axis=1)
    for passes, expected in ((1, 2.0), (2, 3.0), (3, 3.5)):
        field = forward(Halfway(), np.stack((ramp + 4, ramp)), CPU, passes)
        assert field[0, 5:30] == pytest.approx(expected, abs=1e-4)
        assert not field[1].any()


def test_the_second_answer_is_taken_where_the_first_one_pulled_from():
    field = np.zeros((2, 20, 24), np.float32)
    field[0] = 3.0
    there = np.zeros_like(field)
    there[1] = np.arange(20)[:, None]  # a field that says which row it was read in
    np.testing.assert_allclose(pulled(there, field, CPU)[1, :17, 0], np.arange(3, 20))


def test_smoothing_keeps_a_constant_and_what_is_alike_speaks_for_what_is_not():
    field = np.stack([np.full((40, 50), 3.0), np.full((40, 50), -1.0)]).astype(np.float32)
    ncc, counts = np.ones((40, 50), np.float32), np.ones((40, 50), np.float32)
    np.testing.assert_allclose(smoothed(Judged(field, ncc, counts, 1.0), 4.0), field, atol=1e-4)
    wild = field.copy()
    wild[:, :, 25:] = 50.0
    for silent in ({"ncc": -ncc}, {"counts": 0 * counts}):
        maps = {"ncc": ncc.copy(), "counts": counts.copy()}
        for name, values in silent.items():
            maps[name][:, 25:] = values[:, 25:]
        found = smoothed(Judged(wild, maps["ncc"], maps["counts"], 1.0), 4.0)
        assert np.abs(found - field)[:, :, :24].max() < 0.2


def test_tiles_change_nothing():
    fixed, moving = shifted((150, 170))
    method = wilful()
    whole = method(moving, [Neighbour(fixed)], None, CPU)
    tiled = method(moving, [Neighbour(fixed)], None, Runtime(device="cpu", tile=48))
    np.testing.assert_allclose(tiled.displacement, whole.displacement, atol=1e-4)
    np.testing.assert_allclose(tiled.confidence, whole.confidence, atol=1e-4)
    assert tiled.notes["loss_forward"] == pytest.approx(whole.notes["loss_forward"], abs=1e-5)


@pytest.mark.parametrize("blank", ["moving", "fixed"])
def test_a_blank_section_is_not_answered_for(blank):
    fixed, moving = shifted()
    pair = {"fixed": fixed, "moving": moving} | {blank: np.zeros_like(fixed)}
    found = wilful()(pair["moving"], [Neighbour(pair["fixed"])], None, CPU)
    assert not found.displacement.any()
    assert not found.confidence.any()


@pytest.mark.parametrize("side", ["moving", "fixed"])
def test_what_is_unknown_is_not_answered_for_and_not_looked_at(side):
    section = texture((64, 64))
    known = np.ones((64, 64), bool)
    known[:, :32] = False
    spoilt = np.where(known, section, 50.0).astype(np.float32)
    method = small(step_px=16)
    if side == "moving":
        found = method(spoilt, [Neighbour(section)], known, CPU)
    else:
        found = method(section, [Neighbour(spoilt, known=known)], None, CPU)
    assert not found.confidence[:, :2].any()
    assert found.confidence[:, 3].min() > 0.95


def test_confidence_is_the_likeness_of_what_was_pulled():
    section = texture((64, 64))
    method = small(step_px=16)
    alike = method(section, [Neighbour(2 * section + 1)], None, CPU)
    strangers = method(texture((64, 64), 9), [Neighbour(section)], None, CPU)
    assert alike.confidence.min() > 0.95
    assert strangers.confidence.mean() < 0.1


@pytest.mark.parametrize("shape", [(1, 5), (7, 3), (33, 50)])
def test_scraps_of_sections_are_answered_in_their_own_nodes(shape):
    fixed, moving = texture(shape), texture(shape, 1)
    found = small(refine="trained", iterations=2)(moving, [Neighbour(fixed)], None, CPU)
    nodes = tuple(-(-n // 16) for n in shape)
    assert found.displacement.shape == (2, *nodes)
    assert found.confidence.shape == nodes
    assert np.isfinite(found.displacement).all()


def test_a_judged_field_counts_what_it_can_see():
    fixed, moving = shifted()
    u = np.zeros((2, *fixed.shape), np.float32)
    u[0], u[1] = 2, -1
    seen = np.stack((fixed, moving, *np.ones((2, *fixed.shape), np.float32)))
    judged = judge(seen, u, LossConfig(), CPU)
    assert judged.similarity > 0.95
    assert judged.loss == pytest.approx(-judged.similarity)  # a constant field is not rough
    assert not judged.counts[-2:].any()
    assert not judged.counts[:, 0].any()
    assert judged.counts[:-2, 1:].all()


def test_windows_are_of_a_size_the_network_takes():
    images = padded(torch.arange(3.0 * 37 * 70).view(1, 3, 37, 70), 16)
    assert images.shape == (1, 3, 48, 80)
    assert not images[:, 2, 37:].any()  # nothing is known beyond the section
    assert bool((images[0, 0, 40] == images[0, 0, 36]).all())
    cut = window(images, 40, 16, np.random.default_rng(0))
    assert cut.shape == (1, 3, 32, 32)


def test_a_cancelled_job_stops():
    token = CancelToken()
    token.cancel()
    fixed, moving = shifted()
    for refine in ("none", "scratch"):
        with pytest.raises(Cancelled):
            small(refine=refine)(moving, [Neighbour(fixed)], None, Runtime(device="cpu", cancel=token))
