"""Samples for lateral super-resolution: what is shown is what a coarser pixel would have seen."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.training.samples.reductions import ReducedSections, Simulation, reduced_mean_std

CALM = Simulation(
    spacing=(1, 1), ended=0.0, rescale=0.0, jitter=0.0, contrast=0.0, noise=0.0, spoiled=0.0
)  # fmt: skip
# Every section has a value of its own, and varies within.
BLOCK = (10 * np.arange(12)[:, None, None] + np.random.default_rng(0).normal(0, 1, (12, 70, 80))).astype(np.float32)


def samples(simulation=CALM, **options):
    return ReducedSections([BLOCK], **{"factor": 8, "size": 64, "simulation": simulation, **options})


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("factor", "low"), [(8, 8), (16, 4)])
def test_the_reduced_middle_is_the_mean_of_the_fine_section(factor, low):
    batch = samples(factor=factor).batch(rng(), 4)
    assert batch.low.shape == (4, 5, low, low)
    assert batch.fine.shape == (4, 1, 64, 64)
    torch.testing.assert_close(batch.low[:, 2:3], reduced(batch.fine, factor))


def test_units_are_those_of_the_reduced_volume():
    mean, std = reduced_mean_std(BLOCK, 8)
    assert (mean, std) == pytest.approx((55, 10 * np.std(np.arange(12))), rel=0.02)
    batch = samples().batch(rng(), 64)
    assert float(batch.low.std()) == pytest.approx(1, abs=0.35)


def levels(low):
    """Which section of the block every image of a sample is."""
    mean, std = reduced_mean_std(BLOCK, 8)
    return torch.round((low.mean(dim=(-1, -2)) * std + mean) / 10).int().tolist()


def test_neighbours_follow_each_other():
    for seen in levels(samples().batch(rng(), 16).low):
        assert set(np.diff(seen)) in ({1}, {-1})


def test_sections_may_lie_further_apart():
    wide = Simulation(**{**vars(CALM), "spacing": (2, 9)})  # 12 sections allow no more than 2
    for seen in levels(samples(wide).batch(rng(), 8).low):
        assert set(np.abs(np.diff(seen))) == {2}


def test_beyond_an_end_its_section_is_repeated():
    ended = Simulation(**{**vars(CALM), "ended": 1.0})
    found = levels(samples(ended).batch(rng(), 32).low)
    for seen in found:
        steps = np.abs(np.diff(seen))
        repeats = steps == 0
        assert set(steps) <= {0, 1}
        # On one side only, and outermost.
        assert not (repeats[:2].any() and repeats[2:].any())
        assert not (repeats[1] and not repeats[0])
        assert not (repeats[2] and not repeats[3])
    assert any(0 in np.diff(seen) for seen in found)


def test_neighbours_out_of_place_leave_the_middle_where_it_is():
    moved = Simulation(**{**vars(CALM), "jitter": 1.0, "jitter_px": (0.5, 1.0)})
    flat = np.tile(np.random.default_rng(1).normal(0, 1, (1, 96, 96)).astype(np.float32), (8, 1, 1))
    batch = ReducedSections([flat], factor=8, size=64, simulation=moved).batch(rng(), 4)
    torch.testing.assert_close(batch.low[:, 2:3], reduced(batch.fine, 8))
    assert not torch.allclose(batch.low[:, 0], batch.low[:, 2])


@pytest.mark.parametrize("defect", ["rescale", "jitter", "contrast", "noise", "spoiled", "ended"])
def test_every_defect_can_be_drawn(defect):
    found = samples(Simulation(**{**vars(CALM), defect: 1.0})).batch(rng(), 3)
    calm = samples().batch(rng(), 3)
    assert found.low.shape == calm.low.shape
    assert torch.isfinite(found.low).all()
    assert not torch.equal(found.low, calm.low)


def test_noise_and_dirt_are_on_what_was_acquired_only():
    spoilt = Simulation(**{**vars(CALM), "noise": 1.0, "spoiled": 1.0})
    fine = samples(spoilt).batch(rng(), 1).fine
    assert torch.equal(fine, samples().batch(rng(), 1).fine)


def test_every_axis_serves_where_it_is_long_enough():
    block = np.zeros((66, 70, 80), np.float32)
    assert len(ReducedSections([block], factor=8, axes=(0, 1, 2), size=64).stacks) == 3
    # Along the other axes a section of 12 px would have to be magnified five times.
    assert len(samples(axes=(0, 1, 2)).stacks) == 1


def test_a_crop_is_as_large_as_the_block_allows():
    assert samples(size=512).size == 64
    assert samples(size=512).batch(rng(), 1).fine.shape == (1, 1, 64, 64)
    with pytest.raises(InputError, match="at least 128 x 128 px, got 70 px"):
        samples(factor=32)


def test_the_same_seed_draws_the_same():
    a, b = (samples(Simulation()).batch(rng(3), 2) for _ in range(2))
    assert torch.equal(a.low, b.low)
    assert torch.equal(a.fine, b.fine)
