"""Choosing tiles and batches."""

import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.size import choose_batch, choose_tile

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def test_an_image_little_larger_than_a_tile_is_done_in_one_go():
    assert choose_tile((640, 600), Runtime(), CPU) == (640, 600)
    assert choose_tile((641, 600), Runtime(), CPU) == (512, 600)


def test_the_user_goes_before_the_method_along_y_and_x():
    assert choose_tile((64, 999, 999), Runtime(tile=100), CPU, (8, 50, 50)) == (8, 100, 100)
    assert choose_tile((64, 999, 999), Runtime(), CPU, (8, 50, 50)) == (8, 50, 50)
    assert choose_tile((4, 70, 70), Runtime(tile=100), CPU, (8, 50, 50)) == (4, 70, 70)


def test_gpus_get_larger_tiles_and_batches():
    assert choose_tile((9999, 9999), Runtime(), GPU) > choose_tile((9999, 9999), Runtime(), CPU)
    assert choose_batch((512, 512), GPU) > choose_batch((512, 512), CPU) == 1
    assert choose_batch((64, 64), CPU) > 1


def test_a_tile_below_one_pixel_is_refused():
    with pytest.raises(InputError, match="tile -3 px is below the limit of 1 px"):
        choose_tile((9, 9), Runtime(tile=-3), CPU)
