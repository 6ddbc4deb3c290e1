"""The stack solver: it tells distortion from motion, and keeps to what it was told."""

from dataclasses import replace

import numpy as np
import pytest

from napari_emsynth.methods.align.stack.solve import Measured, Prior, left_alone, solve

Z, NODES, NODE_PX = 16, (6, 7), (16.0, 16.0)
STIFF = Prior()


def measured(total, reach=3, trust=1.0):
    """The fields between sections whose structures lie at ``total`` [z, 2, y', x']."""
    pairs = []
    for z in range(len(total)):
        for onto in range(max(0, z - reach), z):
            there = np.full(total.shape[2:], trust, np.float32)
            pairs.append(Measured(z, onto, (total[z] - total[onto]).astype(np.float32), there))
    return pairs


def solved(total, prior=STIFF, **options):
    return solve(len(total), measured(total), prior, node_px=NODE_PX, **options).distortion


def jitter(sigma=2.0, seed=0):
    """Shifts of whole sections, without what is slow along z."""
    drawn = np.random.default_rng(seed).normal(0, sigma, (Z, 2))
    return np.broadcast_to(drawn[:, :, None, None], (Z, 2, *NODES)).copy()


def motion(seed=0):
    """Structures that run their own straight ways."""
    slope = np.random.default_rng(seed).normal(0, 1, (2, *NODES))
    return np.arange(Z)[:, None, None, None] * slope


def fast(stack):
    """What is not a straight line in z, node by node."""
    z = np.arange(len(stack))
    flat = stack.reshape(len(stack), -1)
    return (flat - np.stack([np.polyval(np.polyfit(z, c, 1), z) for c in flat.T], axis=1)).reshape(stack.shape)


def test_straight_motion_is_kept():
    assert np.abs(solved(motion())).max() < 0.02


def test_jitter_is_found():
    total = jitter()
    left = fast(solved(total) - total)
    assert np.abs(fast(total)).mean() > 1.0
    assert np.sqrt((left**2).mean()) < 0.2 * np.sqrt((fast(total) ** 2).mean())


def test_jitter_is_found_among_motion():
    total = jitter()
    alone, among = solved(total), solved(total + motion())
    assert np.abs(among - alone).max() < 0.25


def test_the_others_do_not_come_to_meet_a_section_that_jumped():
    total = jitter(0.0)
    total[8] = 4.0
    found = solved(total)
    assert np.abs(found[8] - 4.0).max() < 0.4
    assert np.abs(np.delete(found, 8, axis=0)).max() < 0.3


def test_the_springs_keep_a_neurite_from_bending_its_section():
    total = jitter(0.0)
    total[8, :, 3, 3] = 5.0  # one node of one section runs away
    assert np.abs(solved(total)).max() < 1.0


def test_outliers_have_little_say():
    total = jitter()
    pairs = measured(total)
    wrong = [replace(m, displacement=m.displacement + 40) if (m.section, m.onto) == (9, 7) else m for m in pairs]
    plain, spoilt = (solve(Z, p, STIFF, node_px=NODE_PX).distortion for p in (pairs, wrong))
    assert np.abs(spoilt - plain).max() < 0.5


def test_untrusted_fields_have_no_say():
    total = jitter()
    pairs = measured(total)
    lies = [replace(m, displacement=m.displacement + 9, trust=m.trust * 0) for m in pairs]
    plain = solve(Z, pairs, STIFF, node_px=NODE_PX).distortion
    assert np.allclose(solve(Z, pairs + lies, STIFF, node_px=NODE_PX).distortion, plain, atol=0.05)


def test_a_reference_stays_and_the_others_come_to_it():
    total = jitter()
    found = solved(total, fixed=[5])
    assert not found[5].any()
    assert np.abs(found[4] - (total[4] - total[5])).mean() < np.abs(total[4] - total[5]).mean()


def test_a_section_nobody_vouches_for_gets_zero_and_no_confidence():
    pairs = [m for m in measured(jitter()) if 6 not in (m.section, m.onto)]
    solution = solve(Z, pairs, STIFF, node_px=NODE_PX)
    assert not solution.distortion[6].any()
    assert not solution.known[6]
    assert solution.known.sum() == Z - 1
    assert solution.confidence[6].max() == 0
    assert solution.confidence[5].min() > 0.5


def test_springs_may_be_cut():
    total = jitter(0.0)
    total[8, 0, :, :3] = 6.0  # a section torn down the middle
    stiffness = np.ones((Z, *NODES), np.float32)
    stiffness[:, :, 2:4] = 0.0
    torn, whole = solved(total, stiffness=stiffness), solved(total)
    assert np.abs(torn[8, 0, :, 0] - torn[8, 0, :, -1]).mean() > 4.0
    assert np.abs(whole[8, 0, :, 2] - whole[8, 0, :, 3]).mean() < np.abs(torn[8, 0, :, 2] - torn[8, 0, :, 3]).mean()


@pytest.mark.parametrize(("size", "share"), [(0.1, 0.0), (0.5, 0.0), (0.75, 0.5), (10.0, 1.0)])
def test_small_distortions_are_left_alone_and_large_ones_are_not(size, share):
    given = np.full((2, 2, 3, 3), size / np.sqrt(2), np.float32)
    assert np.allclose(left_alone(given, 0.5), share * given, atol=1e-5)
    assert (left_alone(given, 0.0) == given).all()
