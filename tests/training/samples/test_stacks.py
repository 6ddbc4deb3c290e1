"""Small stacks, their jitter and their reslices."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.training.samples.reslices import random_reslices, random_sections
from napari_emsynth.training.samples.stacks import StackSamples, jitter, middle

RNG = np.random.default_rng(0)
BLOCK = RNG.integers(20, 230, (20, 30, 40)).astype(np.uint8)


def test_a_whole_shift_moves_pixels_as_the_pull_convention_says():
    stack = RNG.standard_normal((3, 12, 14)).astype(np.float32)
    shifts = np.array([[0, 0], [2, 0], [0, -3]], np.float32)
    moved = jitter(stack, shifts)
    np.testing.assert_allclose(moved[0], stack[0], atol=1e-4)
    np.testing.assert_allclose(moved[1, :-2], stack[1, 2:], atol=1e-4)
    np.testing.assert_allclose(moved[2, :, 3:], stack[2, :, :-3], atol=1e-4)


def test_a_fractional_shift_and_back_leaves_a_smooth_section_alone():
    y, x = np.mgrid[:32, :32]
    stack = np.sin(y / 5.0)[None] * np.cos(x / 6.0)[None]
    there = jitter(stack.astype(np.float32), np.array([[0.4, -0.7]], np.float32))
    back = jitter(there, np.array([[-0.4, 0.7]], np.float32))
    assert np.abs(there - stack).max() > 0.05
    np.testing.assert_allclose(back[0, 4:-4, 4:-4], stack[0, 4:-4, 4:-4], atol=5e-3)


def test_crops_come_from_the_block_in_any_of_its_orientations():
    samples = StackSamples([BLOCK], axes=(0,), size=(5, 8, 8))
    rng = np.random.default_rng(1)
    crops = [samples.draw(rng) for _ in range(20)]
    assert all(crop.shape == (5, 8, 8) and crop.dtype == np.float32 for crop in crops)
    assert len({crop.tobytes() for crop in crops}) == 20
    assert abs(np.mean(crops)) < 0.2
    assert np.std(crops) == pytest.approx(1, abs=0.2)


def test_every_axis_serves_where_voxels_are_isotropic_and_the_block_is_long_enough():
    assert len(StackSamples([BLOCK], axes=(0, 1, 2), size=(20, 20, 20)).stacks) == 3
    assert len(StackSamples([BLOCK], axes=(0, 1, 2), size=(25, 20, 20)).stacks) == 2


def test_a_block_too_small_is_named_with_what_is_needed():
    with pytest.raises(InputError, match=r"at least 21 x 8 x 8 voxels \(z, y, x\), got 20 x 30 x 40"):
        StackSamples([BLOCK], axes=(0,), size=(21, 8, 8))


def test_the_middle_of_a_stack():
    assert (middle(BLOCK, (4, 100, 10)) == BLOCK[8:12, :, 15:25]).all()


def test_reslices_alternate_between_both_planes():
    z, y, x = torch.meshgrid(torch.arange(6), torch.arange(7), torch.arange(8), indexing="ij")
    stack = (100 * z + 10 * y + x).float()[None]
    images = random_reslices(stack, 4, np.random.default_rng(0))
    assert images.shape == (4, 1, 6, 7)
    for i, image in enumerate(images[:, 0]):
        assert (image[1] - image[0] == 100).all()
        step = (image[:, 1] - image[:, 0]).unique().tolist()
        assert step == ([10] if i % 2 else [1])


def test_gradients_flow_back_through_reslices():
    stack = torch.randn(1, 6, 7, 7, requires_grad=True)
    random_reslices(stack, 6, np.random.default_rng(0)).sum().backward()
    assert int((stack.grad > 0).sum()) > 6 * 7


def test_sections_are_windows_of_the_imaging_plane():
    z, y, x = torch.meshgrid(torch.arange(6), torch.arange(9), torch.arange(8), indexing="ij")
    stack = (100 * z + 10 * y + x).float()[None]
    images = random_sections(stack, 5, (6, 7), np.random.default_rng(0))
    assert images.shape == (5, 1, 6, 7)
    assert (images[:, 0, 1:] - images[:, 0, :-1] == 10).all()
    assert (images[:, 0, :, 1:] - images[:, 0, :, :-1] == 1).all()
