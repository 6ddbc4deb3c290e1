"""Samples are what they claim: the right sections, the right position, defects only where asked for."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.training.samples.pairs import Augmentation, SectionTriples, random_keep, shares, stack_of, stacks_of

CLEAN = Augmentation(rescale=0, jitter=0, contrast=0, noise=0, spoiled=0, partial=0, one_sided=0, thinned=0)


def ramp(z=20, edge=48):
    """A block of which a growing share of pixels is 1, which a sample shows however it is normalised."""
    rng, block = np.random.default_rng(3), np.zeros((z, edge * edge), np.float32)
    for k, section in enumerate(block):
        section[: round((0.1 + 0.04 * k) * section.size)] = 1
        rng.shuffle(section)
    return block.reshape(z, edge, edge)


def place(images):
    """Return which section of the ramp each sample shows: of a share p of ones the largest is sqrt((1 - p) / p)."""
    share = 1 / (1 + images.amax(dim=(1, 2, 3)) ** 2)
    return (share - 0.1) / 0.04


def test_position_is_that_of_the_section():
    lesson = SectionTriples([ramp()], size=32, augmentation=CLEAN).batch(np.random.default_rng(0), 64)
    below, above, target = (place(x) for x in (lesson.below, lesson.above, lesson.target))
    torch.testing.assert_close((target - below) / (above - below), lesson.t, atol=0.02, rtol=0)
    spans = lesson.span.unique().tolist()
    assert min(spans) == 2
    assert max(spans) == 8
    assert float(lesson.t.min()) > 0
    assert float(lesson.t.max()) < 1


def test_half_way_samples_have_even_spans():
    only = Augmentation(**{**vars(CLEAN), "centred": 1.0})
    lesson = SectionTriples([ramp()], size=32, augmentation=only).batch(np.random.default_rng(0), 32)
    assert (lesson.t == 0.5).all()
    assert set(lesson.span.tolist()) == {2, 4, 6, 8}


def test_samples_are_normalised():
    block = np.random.default_rng(0).normal(90, 12, (12, 64, 64)).astype(np.float32)
    lesson = SectionTriples([block], size=32, augmentation=CLEAN).batch(np.random.default_rng(1), 16)
    assert float(lesson.target.mean()) == pytest.approx(0, abs=0.05)
    assert float(lesson.target.std()) == pytest.approx(1, abs=0.1)


def test_nothing_is_known_of_the_section_unless_asked():
    lesson = SectionTriples([ramp()], size=32, augmentation=CLEAN).batch(np.random.default_rng(0), 8)
    assert float(lesson.keep.abs().max()) == 0
    assert float(lesson.partial.abs().max()) == 0


def test_partial_sections_show_the_target_where_kept():
    partial = Augmentation(**{**vars(CLEAN), "partial": 1.0})
    lesson = SectionTriples([ramp()], size=32, augmentation=partial).batch(np.random.default_rng(0), 32)
    assert 0 < float(lesson.keep.mean()) < 1
    torch.testing.assert_close(lesson.partial, lesson.target * lesson.keep)


def test_one_sided_samples_repeat_the_neighbour_and_double_the_distance():
    one = Augmentation(**{**vars(CLEAN), "one_sided": 1.0})
    lesson = SectionTriples([ramp()], size=32, augmentation=one).batch(np.random.default_rng(0), 32)
    torch.testing.assert_close(lesson.below, lesson.above)
    assert (lesson.t == 0.5).all()
    distance = place(lesson.target) - place(lesson.below)
    torch.testing.assert_close(distance, lesson.span / 2, atol=0.1, rtol=0)


def test_all_axes_of_an_isotropic_block_serve():
    block = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    assert stack_of(block, 1).shape == (5, 4, 6)
    np.testing.assert_array_equal(stack_of(block, 2)[3], block[:, :, 3])
    triples = SectionTriples([np.random.default_rng(0).random((40, 40, 40))], axes=(0, 1, 2), size=32)
    assert len(triples.stacks) == 3


def test_equal_seeds_give_equal_batches():
    block = np.random.default_rng(3).integers(0, 255, (20, 64, 64)).astype(np.uint8)
    a, b = (SectionTriples([block], size=48).batch(np.random.default_rng(7), 4) for _ in range(2))
    for name in ("below", "above", "target", "partial", "keep", "t", "span"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("seed", range(8))
def test_kept_parts_are_masks(seed):
    keep = random_keep(np.random.default_rng(seed), 64)
    assert keep.shape == (64, 64)
    assert set(np.unique(keep)) <= {0.0, 1.0}


@pytest.mark.parametrize(("shape", "words"), [((2, 64, 64), "at least 3 sections"), ((9, 20, 64), "32 x 32 px")])
def test_blocks_too_small_are_refused(shape, words):
    with pytest.raises(InputError, match=words):
        SectionTriples([np.zeros(shape, np.uint8)])


def test_a_thinned_sample_counts_only_every_nth_section():
    thinned = Augmentation(**{**vars(CLEAN), "thinned": 1.0, "centred": 1.0})
    lesson = SectionTriples([ramp()], size=32, augmentation=thinned).batch(np.random.default_rng(0), 64)
    stride = (place(lesson.above) - place(lesson.below)) / lesson.span
    assert (lesson.t == 0.5).all()
    assert (lesson.span % 2 == 0).all()
    assert {1, 2} <= set(stride.round().int().tolist()) <= {1, 2, 3, 4}


def test_stacks_are_drawn_as_large_as_they_are():
    small, large = np.zeros((2, 4, 5)), np.ones((6, 4, 5))
    assert shares([small, large]).tolist() == [0.25, 0.75]


def test_a_block_keeps_its_mean_and_deviation_along_every_axis():
    block = np.random.default_rng(0).normal(90, 12, (8, 9, 10))
    found = stacks_of([block], (0, 2))
    assert [stack.shape for stack, _, _ in found] == [(8, 9, 10), (10, 8, 9)]
    for _, mean, std in found:
        assert (mean, std) == pytest.approx((90, 12), rel=0.1)
