"""Windows, blocks, hidden sections, and what a job leaves behind when it travels."""

import pickle

import numpy as np
import pytest

from napari_emsynth.methods.interpolate.job import ALIGN, Job, blocks, check_window, grown, inside
from napari_emsynth.methods.interpolate.plan import Marks, plan_repairs
from napari_emsynth.params import Params
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume


def job(volume, replaced=(), method="linear"):
    marks = Marks(volume.shape, set(replaced), {})
    return Job(Volume.of(volume), None, marks, method, Params(), None, Runtime())


def moving(z=12, edge=48):
    y, x = np.mgrid[:edge, :edge]
    return np.stack([np.sin((x + k) / 3.0) * 60 + 120 + y for k in range(z)]).astype(np.uint8)


def test_windows_grow_to_aligned_starts_inside_the_section():
    read = grown((slice(300, 400), slice(0, 50)), 64, (1000, 90))
    assert read == (slice(192, 464), slice(0, 90))
    assert read[0].start % ALIGN == 0
    assert inside((slice(300, 400), slice(0, 50)), read) == (slice(108, 208), slice(0, 50))


def test_blocks_partition_a_window():
    window = (slice(5, 70), slice(0, 33))
    seen = np.zeros((80, 40), int)
    for block in blocks(window, 32):
        seen[block] += 1
    assert (seen[window] == 1).all()
    assert seen.sum() == seen[window].size
    assert {b[0].start for b in blocks(window, 32)} == {5, 32, 64}


def test_small_windows_are_checked_whole_and_large_ones_in_their_middle():
    assert check_window((slice(0, 100), slice(3, 9))) == (slice(0, 100), slice(3, 9))
    assert check_window((slice(0, 1000), slice(0, 100)), 400) == (slice(300, 700), slice(0, 100))


def test_hidden_sections_are_intact_nearest_and_at_the_same_distances():
    work = job(moving(), replaced={5, 6})
    repairs = plan_repairs(work.marks, list(range(12)))
    # 5 and 6 lie between 4 and 7: one below and two above must be intact around the hidden section.
    assert work._hidden(repairs[0]) == [(2, (-1, 2)), (8, (-1, 2))]
    assert work._hidden(repairs[1]) == [(3, (-2, 1)), (9, (-2, 1))]
    single = job(moving(), replaced={5}, method="fitted")
    (repair,) = plan_repairs(single.marks, list(range(12)))
    assert single._hidden(repair) == [(2, (-2, -1, 1, 2)), (8, (-2, -1, 1, 2))]


def test_a_stack_with_no_intact_neighbours_is_not_checked():
    work = job(moving(3), replaced={1})
    (repair,) = plan_repairs(work.marks, [0, 1, 2])
    assert work.check(repair) is None


def test_check_of_linear_equals_the_linear_floor():
    work = job(moving(), replaced={5})
    (repair,) = plan_repairs(work.marks, list(range(12)))
    check = work.check(repair)
    assert check is not None
    assert check.psnr == pytest.approx(check.candidates["linear"])
    assert check.candidates["linear"] > check.candidates["nearest"]
    assert check.n == 2


def test_a_job_travels_without_its_callbacks():
    work = job(moving(), replaced={5})
    (repair,) = plan_repairs(work.marks, list(range(12)))
    work.check(repair)
    there = pickle.loads(pickle.dumps(work))
    assert there._samples == {}
    window = repair.window
    here, away = (j.render(repair, window, None, Runtime()) for j in (work, there))
    for name, part in vars(here).items():
        np.testing.assert_array_equal(part, getattr(away, name))
