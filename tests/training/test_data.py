"""Blocks to learn from and to be scored on: intact, adjoining, apart."""

from dataclasses import replace

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.train_input import crop
from napari_emsynth.testing.phantoms import Phantom, margins
from napari_emsynth.training.data import closed_up, split
from napari_emsynth.volume import Known, Volume

VOXEL_NM = (10.0, 10.0, 10.0)


def numbered(sections, edge=40, voxel_nm=None):
    """A volume whose every section shows its own number."""
    data = np.broadcast_to(np.arange(sections, dtype=np.uint8)[:, None, None], (sections, edge, edge))
    return Volume.of(np.ascontiguousarray(data), voxel_nm=voxel_nm)


def shown(blocks):
    return [block[:, 0, 0].tolist() for block in blocks]


def test_an_intact_volume_is_one_block_and_its_end():
    data = split(numbered(40))
    assert shown(data.blocks) == [list(range(34))]
    assert shown(data.held_out) == [list(range(34, 40))]


@pytest.mark.parametrize("without", [{5}, {5, 6, 20}, {0, 33, 39}, {2, 4, 12}, {37}])
def test_no_block_holds_a_damaged_section_or_jumps_over_one(without):
    data = split(numbered(40), without=without)
    runs = shown([*data.blocks, *data.held_out])
    assert all(np.diff(run).tolist() == [1] * (len(run) - 1) for run in runs)
    assert all(len(run) >= 3 for run in runs)
    assert without.isdisjoint(z for run in runs for z in run)
    assert max(max(run) for run in shown(data.blocks)) < min(min(run) for run in shown(data.held_out))


def test_runs_too_short_to_teach_anything_are_dropped():
    assert shown(split(numbered(40), without={2, 5, 20}).blocks) == [list(range(6, 20)), list(range(21, 34))]


def test_reslices_are_looked_at_where_most_blocks_are_deep_enough():
    deep = split(numbered(90, voxel_nm=VOXEL_NM), without={60})
    assert (deep.axes, shown(deep.blocks)) == ((0, 1, 2), [list(range(60))])
    shallow = split(numbered(90, voxel_nm=VOXEL_NM), without={20, 40, 60})
    assert shallow.axes == (0,)
    assert len(shallow.blocks) == 4


def test_what_cannot_teach_is_refused():
    with pytest.raises(InputError, match="at least 16 sections, got 14 of 20 that do not look damaged"):
        split(numbered(20), without=range(6))
    with pytest.raises(InputError, match="3 sections in a row"):
        split(numbered(40), without=range(0, 40, 2))


def test_a_volume_closes_up_where_sections_are_left_out():
    volume = closed_up(numbered(20, voxel_nm=VOXEL_NM), {3, 4, 19})
    assert volume.data[:, 0, 0].tolist() == [z for z in range(20) if z not in {3, 4, 19}]
    assert volume.grid.voxel_nm == VOXEL_NM


def test_nothing_is_learned_from_what_is_empty():
    volume = Phantom(shape=(20, 64, 80)).volume()
    planted = Volume.of(np.where(margins(volume.shape), np.uint8(0), volume.data))
    for block, z in zip((split(planted).blocks[0], split(planted).held_out[0]), (0, 15), strict=True):
        shown = volume.data[z : z + len(block), :54, 18:]
        np.testing.assert_array_equal(block, shown)
    whole = split(volume)
    assert whole.blocks[0].shape[1:] == (64, 80)


def test_a_region_has_the_margins_of_the_whole():
    volume = Phantom(shape=(20, 64, 80)).volume()
    empty = np.zeros(volume.shape, np.uint8)
    empty[:, :, :30] = 1
    known = replace(volume, known=Known(empty=empty))
    region = crop(known, np.s_[0:20, 10:60, 20:70])
    np.testing.assert_array_equal(region.known.empty, empty[:, 10:60, 20:70])
    assert split(region).blocks[0].shape[1:] == (50, 40)
    assert crop(volume, np.s_[0:20, 10:60, 20:70]).known is None
