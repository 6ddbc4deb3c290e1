"""Samples of gaps: what a lesson holds, and that it follows from its number alone."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.models.fitted_filter import linear_taps
from napari_emsynth.training.samples.gaps import GapSamples
from napari_emsynth.training.samples.pairs import Augmentation

BLOCK = np.random.default_rng(0).integers(0, 255, (24, 60, 64)).astype(np.uint8)
RAMP = (np.arange(24)[:, None, None] * 3 + np.zeros((1, 60, 64)) + np.arange(64) % 9).astype(np.uint8)
PLAIN = Augmentation(rescale=0, jitter=0, contrast=0, noise=0, spoiled=0, partial=0, one_sided=0, far_absent=0)


def samples(block=BLOCK, augmentation=Augmentation(), **options):
    return GapSamples([block], size=32, augmentation=augmentation, scenes=40, **options)


def tensors(lesson):
    return [*lesson.sides, *lesson.clues, lesson.target, lesson.partial, lesson.keep]


def test_equal_numbers_give_equal_samples_whatever_came_before():
    fresh, used = samples(), samples()
    used.batch(np.random.default_rng(5), 3)
    for a, b in zip(*(tensors(s.batch(np.random.default_rng(1), 4)) for s in (fresh, used)), strict=True):
        assert torch.equal(a, b)


def test_everything_is_finite_and_of_its_shape():
    for seed in range(8):
        lesson = samples().batch(np.random.default_rng(seed), 3)
        assert all(torch.isfinite(t).all() for t in tensors(lesson))
        assert all(image.shape == (3, 1, 32, 32) for image in (*lesson.sides, lesson.target, lesson.keep))
        assert all(clue.shape == (3,) for clue in lesson.clues)


def test_offsets_stay_inside_the_stack_and_near_ones_come_first():
    drawn = samples()
    for number in range(40):
        scene = drawn.scene(number)
        assert 0 not in scene.offsets
        assert max(*scene.offsets, 0) - min(*scene.offsets, 0) < len(BLOCK)
        assert list(scene.offsets) == sorted(set(scene.offsets))
        assert all(o % scene.thinned == 0 for o in scene.offsets)


def test_clues_are_what_the_offsets_say():
    drawn = samples(augmentation=PLAIN)
    number = next(n for n in range(40) if len(drawn.scene(n).offsets) == 4 and drawn.scene(n).thinned == 1)
    far_below, below, above, far_above = drawn.scene(number).offsets
    _, (t, span, ratio_below, ratio_above, noise, correlation, error) = drawn._sample(np.random.default_rng(0), number)
    assert (t, span) == (-below / (above - below), above - below)
    assert (ratio_below, ratio_above) == (below / far_below, above / far_above)
    assert noise > 0.5  # the block is noise
    assert abs(correlation) < 0.2
    assert error == pytest.approx(drawn.fit(number)[1])


def test_the_base_is_worth_having_where_there_is_something_to_learn():
    drawn = samples(RAMP, PLAIN)
    lesson = drawn.batch(np.random.default_rng(0), 6)
    assert float((lesson.sides.base - lesson.target).square().mean()) < 0.05


def test_one_side_alone_stands_for_both():
    drawn = samples(augmentation=Augmentation(one_sided=1.0))
    lesson = drawn.batch(np.random.default_rng(0), 4)
    assert torch.equal(lesson.sides.below, lesson.sides.above)
    assert (lesson.clues.t == 0.5).all()


def test_absent_far_sections_are_empty_and_said_to_be():
    drawn = samples(augmentation=Augmentation(far_absent=1.0))
    lesson = drawn.batch(np.random.default_rng(0), 4)
    for side, clue in (
        (lesson.sides.far_below, lesson.clues.far_below),
        (lesson.sides.far_above, lesson.clues.far_above),
    ):
        assert not side.any()
        assert not clue.any()


def test_the_filter_has_one_patch_a_section():
    drawn = samples()
    taps, error = drawn.fit(3)
    assert taps.shape == linear_taps(drawn.scene(3).offsets).shape
    assert 0 < error < 2


def test_weights_decide_which_stack_is_drawn_from():
    drawn = GapSamples([BLOCK, RAMP], weights=[0, 1], size=32, scenes=20)
    assert {drawn.scene(n).stack for n in range(20)} == {1}


@pytest.mark.parametrize("shape", [(2, 64, 64), (10, 20, 64)])
def test_too_little_to_learn_from_is_refused(shape):
    with pytest.raises(InputError, match="needs"):
        GapSamples([np.zeros(shape, np.uint8)])
