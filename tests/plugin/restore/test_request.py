"""A request gives what the task gives, lazily or not, replaced and inserted together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.plugin.restore import marks as m
from napari_emsynth.plugin.restore.marks import Mark
from napari_emsynth.plugin.restore.request import RestoreRequest, Settings, preview_section, restore
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.volume import Volume

LINEAR = Settings(method="linear", device="cpu")


def ask(volume: Volume, **what: Any) -> Any:
    return restore(volume, RestoreRequest(**{"settings": LINEAR, **what}), Runtime(device="cpu"))


@pytest.fixture
def volume(stack: Any) -> Volume:
    return Volume.of(stack, voxel_nm=(10, 10, 10), name="stack")


def test_the_same_as_the_task(volume: Volume) -> None:
    before = volume.data.copy()
    outcome = ask(volume, sections=(3, 7))
    expected = interpolate(volume, [3, 7], method="linear")
    np.testing.assert_array_equal(outcome.result.volume.data, expected.volume.data)
    np.testing.assert_array_equal(volume.data, before)
    assert set(outcome.entries) == {(3, False), (7, False)}
    assert outcome.entries[(3, False)]["selfcheck"] is not None


def test_replace_then_insert(volume: Volume) -> None:
    outcome = ask(volume, sections=(3, 8), inserts=(5, 5, 8))
    first = interpolate(volume, [3, 8], method="linear")
    second = interpolate(first.volume, [5, 5, 8], insert=True, method="linear")
    np.testing.assert_array_equal(outcome.result.volume.data, second.volume.data)
    made = np.nonzero(outcome.result.synthetic.data.any(axis=(1, 2)))[0]
    assert list(made) == [3, 5, 6, 10, 11]
    record = outcome.result.provenance
    assert [[e["section"] for e in step["sections"]] for step in (record["previous"], record)] == [[3, 8], [5, 6, 10]]
    assert outcome.entries[(8, False)]["section"] == 11
    assert outcome.entries[(8, True)]["section"] == 10
    kept = np.delete(outcome.result.volume.data, made, axis=0)
    np.testing.assert_array_equal(kept, np.delete(volume.data, [3, 8], axis=0))


def test_a_region_changes_its_pixels_only(volume: Volume) -> None:
    region = np.zeros(volume.shape[1:], bool)
    region[20:40, 10:30] = True
    outcome = ask(volume, regions={4: region})
    changed = outcome.result.volume.data != volume.data
    assert changed.any()
    assert not changed[:, ~region].any()
    assert not np.delete(changed, 4, axis=0).any()


@pytest.mark.parametrize("lazy", [False, True])
def test_stored_volumes_give_the_same_voxels(volume: Volume, lazy: bool) -> None:
    stored = replace(volume, data=da.from_array(volume.data, chunks=(1, 64, 72)))
    expected = ask(volume, sections=(3,), inserts=(6,))
    outcome = ask(stored, sections=(3,), inserts=(6,), settings=replace(LINEAR, lazy=lazy))
    assert hasattr(outcome.result.volume.data, "dask"), "acquired sections stay in their store"
    for name in ("volume", "synthetic", "uncertainty"):
        ours, theirs = getattr(outcome.result, name), getattr(expected.result, name)
        np.testing.assert_array_equal(ours.read(slice(None)), theirs.data)


def test_lazy_computes_only_what_is_read(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_emsynth.methods.interpolate.linear import Linear

    calls, real = [], Linear.__call__
    monkeypatch.setattr(Linear, "__call__", lambda self, gap, runtime: (calls.append(1), real(self, gap, runtime))[1])
    outcome = ask(volume, sections=(2, 5, 8), settings=replace(LINEAR, lazy=True, selfcheck=False))
    assert calls == []
    outcome.result.volume.section(5)
    assert len(calls) == 1
    outcome.result.volume.section(6)
    assert len(calls) == 1


def test_preview_is_the_section_of_the_result(volume: Volume) -> None:
    marks = (Mark(section=4), Mark(section=5), Mark(section=9, treatment="insert"))
    expected = ask(volume, sections=(4, 5)).result.volume.data
    np.testing.assert_array_equal(preview_section(volume, marks, 5, LINEAR, Runtime()), expected[5])
    inserted = interpolate(volume, [9], insert=True, method="linear").volume.data
    np.testing.assert_array_equal(preview_section(volume, marks, 9, LINEAR, Runtime()), inserted[9])


def test_what_was_synthetic_stays_marked(volume: Volume) -> None:
    first = ask(volume, sections=(3,))
    request = RestoreRequest(sections=(8,), inserts=(2,), settings=LINEAR)
    second = restore(first.result.volume, request, Runtime())
    assert list(np.nonzero(second.result.synthetic.data.any(axis=(1, 2)))[0]) == [2, 4, 9]
    inserted = second.result.provenance
    assert [entry["section"] for entry in inserted["sections"]] == [2]
    assert [entry["section"] for entry in inserted["previous"]["sections"]] == [8]
    assert inserted["previous"]["previous"] == first.result.provenance


@pytest.mark.parametrize(
    ("what", "line"),
    [({}, "no section is marked"),
     ({"sections": tuple(range(12))}, "all 12 sections are marked"),
     ({"sections": (12,)}, "section 12 is outside the stack, which has sections 0 to 11"),
     ({"inserts": (-1,)}, "section -1 is outside")],
)  # fmt: skip
def test_bad_requests_are_one_line(volume: Volume, what: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        ask(volume, **what)


def test_cancelled_before_and_between(volume: Volume) -> None:
    token = CancelToken()
    token.cancel()
    stored = replace(volume, data=da.from_array(volume.data, chunks=(1, 64, 72)))
    for source in (volume, stored):
        with pytest.raises(Cancelled):
            restore(source, RestoreRequest(sections=(3,), settings=LINEAR), Runtime(cancel=token))


def test_marks_are_values() -> None:
    marks = m.add((), [Mark(section=5), Mark(section=2)])
    marks = m.add(marks, [Mark(section=5, origin="again"), Mark(section=5, treatment="insert")])
    marks = m.add(marks, [Mark(section=5, treatment="insert")])
    assert [(x.section, x.treatment) for x in marks] == [
        (2, "replace"), (5, "insert"), (5, "insert"), (5, "replace"),
    ]  # fmt: skip
    assert m.without(marks, [0, 1])[0].treatment == "insert"
    assert m.change(marks, 0, "insert")[0].treatment == "insert"
    assert m.run_around(m.add((), [Mark(section=z) for z in (3, 4, 6)]), 5) == [3, 4, 5, 6]
    assert m.run_around((), 5) == [5]
