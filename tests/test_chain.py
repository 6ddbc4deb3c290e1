"""What earlier steps left reaches every later one: masks, error estimates, records; from memory and from files."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.stack.carry import through
from napari_emsynth.trust.intact import left_out
from napari_emsynth.volume import Known, Volume

SHAPE = (9, 48, 40)


def smooth_stack() -> Volume:
    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(SHAPE), (2, 3, 3))
    data = np.clip(128 + 40 * field / field.std(), 1, 254).astype(np.uint8)
    return Volume.of(data, voxel_nm=(40, 8, 8), name="stack")


STEPS: dict[str, Any] = {
    "replace": lambda v: es.interpolate(v, [4], method="linear", selfcheck=False),
    "mask": lambda v: es.interpolate(v, mask=window(v), method="linear", selfcheck=False),
    "insert": lambda v: es.interpolate(v, [3], insert=True, method="linear", selfcheck=False),
    "align": lambda v: es.align(v, method="optical-flow", skip=[], selfcheck=False),
    "redraw": lambda v: es.align(v, method="jain2017", selfcheck=False),
    "point": lambda v: es.upsample(v, 2, method="linear", damaged=[], selfcheck=False),
    "fraction": lambda v: es.upsample(v, 2.5, method="linear", damaged=[], selfcheck=False),
    "slab": lambda v: es.upsample(v, 2, sampling="slab", method="linear", damaged=[], selfcheck=False),
    "superres": lambda v: es.superresolve(v, 8, method="bicubic", damaged=[], selfcheck=False),
}
LAST = tuple(STEPS)
FIRST = tuple(name for name in STEPS if name != "superres")


def window(volume: Volume) -> np.ndarray:
    mask = np.zeros(volume.shape, np.uint8)
    mask[5, 10:20, 10:20] = 1
    return mask


def copies(name: str, count: int) -> dict[int, int]:
    """Sections of the result that show one of the input's, by that one; each step in the user's own words."""
    if name == "insert":
        return {z: z + (z >= 3) for z in range(count)}
    if name == "point":
        return {z: 2 * z for z in range(count)}
    if name == "fraction":
        return {z: int(2.5 * z) for z in range(0, count, 2)}
    return {} if name == "slab" else {z: z for z in range(count)}


@pytest.fixture(scope="module")
def steps() -> dict[str, es.Result]:
    stack = smooth_stack()
    return {name: STEPS[name](stack) for name in FIRST}


@pytest.mark.parametrize(("first", "last"), list(product(FIRST, LAST)))
def test_a_second_step_never_unmarks_a_first_one(steps: dict[str, es.Result], first: str, last: str) -> None:
    before = steps[first]
    after = STEPS[last](before.volume)
    assert after.provenance["previous"] == before.provenance
    earlier, now = np.asarray(before.synthetic.data) > 0, np.asarray(after.synthetic.data) > 0
    if last == "superres":
        assert (now | (False if after.empty is None else np.asarray(after.empty.data) > 0)).all()
    for z, k in copies(last, earlier.shape[0]).items():
        if last != "superres" and last != "align":
            assert (now[k] >= earlier[z]).all(), f"section {z}, now {k}"
        if last == "align" and earlier[z].all():
            assert (now[k] | (np.asarray(after.empty.data)[k] > 0)).all()
    known = after.volume.known
    assert known is not None
    assert known.record == after.provenance
    np.testing.assert_array_equal(known.synthetic, after.synthetic.data)


@pytest.mark.parametrize("name", ["replace", "mask", "insert", "point", "fraction"])
def test_what_a_step_did_not_touch_is_as_it_was(name: str) -> None:
    stack = smooth_stack()
    marks = np.zeros(SHAPE, np.uint8)
    marks[7, 30:35] = marks[1] = 1
    width = np.where(marks, np.float32(6.5), np.float32(0))
    known = replace(stack, known=Known(record={"task": "before"}, synthetic=marks, uncertainty=width))
    plain, told = STEPS[name](stack), STEPS[name](known)
    for z, k in copies(name, SHAPE[0]).items():
        fresh = np.asarray(plain.synthetic.data)[k]
        np.testing.assert_array_equal(told.volume.data[k][fresh == 0], stack.data[z][fresh == 0])
        np.testing.assert_array_equal(told.synthetic.data[k], np.maximum(fresh, marks[z]))
        if told.uncertainty is not None:
            wanted = np.where(fresh, plain.uncertainty.data[k], width[z])
            np.testing.assert_array_equal(told.uncertainty.data[k], wanted)


@pytest.mark.parametrize("name", LAST)
def test_numpy_and_dask_take_the_same_along(name: str) -> None:
    import dask.array as da

    marks = np.zeros(SHAPE, np.uint8)
    marks[1], marks[6, :20], marks[:, :, :3] = 1, 1, 1
    stack = replace(smooth_stack(), known=Known(synthetic=marks, empty=marks, record={}))
    lazy = replace(stack, data=da.from_array(stack.data, chunks=(1, 24, 40)))
    here, there = STEPS[name](stack), STEPS[name](lazy)
    for part in ("synthetic", "empty"):
        assert hasattr(getattr(there, part).data, "dask")
        np.testing.assert_array_equal(getattr(here, part).data, np.asarray(getattr(there, part).data))


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("first", ["replace", "mask", "align", "point"])
def test_a_file_says_what_the_memory_knew(steps: dict[str, es.Result], tmp_path: Path, first: str, suffix: str) -> None:
    before = steps[first]
    there = es.read(es.write(before, tmp_path / f"first{suffix}"))
    from_file = STEPS["point"](there)
    from_memory = STEPS["point"](before.volume)
    assert from_file.provenance["previous"] == from_memory.provenance["previous"]
    for part in ("synthetic", "empty", "uncertainty"):
        here, read = getattr(from_memory, part), getattr(from_file, part)
        assert (here is None) == (read is None)
        if here is not None:
            np.testing.assert_array_equal(np.asarray(read.data), here.data)


def test_a_volume_of_a_result_is_written_with_its_marks(steps: dict[str, es.Result], tmp_path: Path) -> None:
    back = es.read(es.write(steps["mask"].volume, tmp_path / "volume.ome.zarr"))
    assert back.record == steps["mask"].provenance
    np.testing.assert_array_equal(back.known.synthetic[:], steps["mask"].synthetic.data)


# ------------------------------------------------------------------------------------------ empty


def bordered(extra: int = 4) -> Volume:
    """A stack with 3 empty columns throughout, and one section whose upper half is empty too."""
    empty = np.zeros(SHAPE, np.uint8)
    empty[:, :, :3] = 1
    empty[extra, :24] = 1
    return replace(smooth_stack(), known=Known(empty=empty))


def test_where_one_neighbour_is_empty_the_other_serves() -> None:
    point = STEPS["point"](bordered()).empty.data
    assert point[:, :, :3].all()
    assert point[8, :24].all(), "the section itself"
    assert not point[[7, 9], :24, 3:].any(), "between it and another"
    slab = STEPS["slab"](bordered()).empty.data
    assert slab[8:10, :24].all()
    assert not slab[10:, :24, 3:].any()


def test_a_repaired_section_is_empty_only_where_both_sides_are() -> None:
    whole = STEPS["replace"](bordered()).empty.data
    assert whole[4, :, :3].all()
    assert not whole[4, :, 3:].any()
    part = STEPS["mask"](bordered(extra=5)).empty.data
    assert not part[5, 10:20, 10:20].any()
    assert part[5, :10].all()
    inserted = STEPS["insert"](bordered()).empty.data
    assert inserted[:, :, :3].all()
    assert inserted[5, :24].all()
    assert not inserted[[3, 4, 6], :, 3:].any()


def test_pixels_made_smaller_are_empty_where_the_large_ones_were() -> None:
    stack = bordered()
    finer = STEPS["superres"](stack).empty.data
    np.testing.assert_array_equal(finer[:, 3::8, 3::8], stack.known.empty)
    np.testing.assert_array_equal(finer[:, 4::8, 4::8], stack.known.empty)


def test_what_comes_from_outside_a_section_is_empty() -> None:
    data = np.zeros((9, 2, 6, 5), np.float32)
    data[2, 1] = -4.0
    empty = np.asarray(through(bordered(), Displacement(data, SHAPE)).empty.data)
    assert empty[:, :, :3].all()
    assert not empty[1, :, 3:].any()
    assert empty[2, :, :7].all(), "4 px from outside, then the border"
    assert not empty[2, :, 7:].any()


# ------------------------------------------------------------------------------------------ moved twice


def test_aligned_twice_is_drawn_once_from_what_was_acquired() -> None:
    stack = smooth_stack()
    once = es.align(stack, method="optical-flow", skip=[], selfcheck=False)
    twice = es.align(once.volume, method="optical-flow", skip=[], selfcheck=False)
    by_hand = es.apply_field(stack, twice.displacement, "cubic")
    np.testing.assert_array_equal(twice.volume.data, by_hand.data)
    assert twice.provenance["previous"] == once.provenance
    assert twice.provenance["upon"]["sections"]


# ------------------------------------------------------------------------------------------ truth


def test_a_synthetic_section_is_no_truth() -> None:
    stack = smooth_stack()
    marks = np.zeros(SHAPE, np.uint8)
    marks[4], marks[6, :10] = 1, 1
    known = replace(stack, known=Known(synthetic=marks))
    assert left_out(known).kinds == {4: "synthetic"}
    assert left_out(known, named=[4]).kinds == {}
    all_of_it = replace(stack, known=Known(synthetic=np.ones(SHAPE, np.uint8)))
    assert left_out(all_of_it).kinds == {}
    repaired = es.interpolate(known, [5], method="linear", selfcheck=False)
    (entry,) = repaired.provenance["sections"]
    assert (entry["below"], entry["above"]) == (3, 6)


def test_marks_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match=r"synthetic marks of stack have \(1, 2, 3\) voxels"):
        replace(smooth_stack(), known=Known(synthetic=np.zeros((1, 2, 3), np.uint8)))
