"""What is empty, through every task: the same for arrays, lazy ones, files and previews; and missing sections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.methods import drawing
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.methods.interpolate.options import InterpolateOptions
from napari_emsynth.methods.superres.options import SuperresOptions
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom, margins
from napari_emsynth.volume import Known, Volume

SHAPE = (12, 64, 80)
ASKED: dict[str, Any] = {
    "interpolate": InterpolateOptions(sections=[4, 5], method="fitted"),
    "align": AlignOptions(method="optical-flow"),
    "upsample": UpsampleOptions(factor=3, method="kriging"),
    "superres": SuperresOptions(factor=8, method="bicubic"),
}
TASKS: dict[str, Any] = {
    "interpolate": es.interpolate, "align": es.align, "upsample": es.upsample, "superres": es.superresolve
}  # fmt: skip
GONE = 8


def stack(fill: float = 0, dtype: str = "uint8") -> Volume:
    """A stack whose margins differ from section to section."""
    whole = Phantom(shape=SHAPE, dtype=dtype, drift=0.4, voxel_nm=(30, 10, 10)).volume()
    return replace(whole, data=np.where(margins(SHAPE), whole.data.dtype.type(fill), whole.data))


def lacking() -> Volume:
    """The same, with a section that is missing: black, as a reader shows it."""
    volume, empty = stack(), np.zeros(SHAPE, np.uint8)
    volume.data[GONE], empty[GONE] = 0, 1
    return replace(volume, known=Known(empty=empty))


def parts(result: es.Result) -> dict[str, np.ndarray]:
    named = {name: getattr(result, name) for name in ("volume", "synthetic", "empty", "uncertainty")}
    return {name: part.read(slice(None)) for name, part in named.items() if part is not None}


@pytest.mark.parametrize("task", TASKS)
def test_lazy_previewed_and_in_memory_are_the_same(task: str) -> None:
    volume, options = stack(), replace(ASKED[task], selfcheck=False)
    eager = TASKS[task](volume, options=options)
    lazy = TASKS[task](replace(volume, data=da.from_array(volume.data, chunks=(3, 40, 40))), options=options)
    here, there = parts(eager), parts(lazy)
    assert here.keys() == there.keys() >= {"empty"}
    for name, array in here.items():
        np.testing.assert_array_equal(array, there[name], err_msg=name)
    assert not (here["synthetic"] & here["empty"]).any()
    prepared = drawing.prepare(task, volume, options, Runtime())
    box = (slice(3, 6), slice(20, 64), slice(0, 50))
    np.testing.assert_array_equal(prepared.draw(box, Runtime()), here["volume"][box])


@pytest.mark.parametrize(("task", "figure", "near"), [
    ("interpolate", "psnr", 0.5), ("align", "epe_aligned", 0.2), ("upsample", "psnr", 0.5), ("superres", "psnr", 1.0),
])  # fmt: skip
def test_a_self_check_leaves_margins_out(task: str, figure: str, near: float) -> None:
    shape = (3, 256, 256) if task == "superres" else SHAPE
    plain = Phantom(shape=shape, drift=0.4, voxel_nm=(30, 10, 10)).volume()
    planted = plain.data.copy()
    planted[:, :, -10:] = planted[:, :5] = 0
    found = []
    for volume in (plain, replace(plain, data=planted)):
        record = TASKS[task](volume, options=ASKED[task]).provenance
        found.append((record["sections"][0] if task == "interpolate" else record)["selfcheck"])
    clean, told = found
    assert told[figure] == pytest.approx(clean[figure], abs=near)
    assert told["beats_floors"] == clean["beats_floors"]


def test_how_far_off_slabs_are_is_measured_on_what_was_acquired() -> None:
    options = UpsampleOptions(factor=3, sampling="slab", method="linear", selfcheck=True)
    off = {fill: es.upsample(stack(fill), options=options).provenance["residual"]["before"] for fill in (0, 255)}
    assert 0 < off[0] < stack().data[~margins(SHAPE)].std()
    assert off[255] == pytest.approx(off[0], rel=0.05)


def test_a_missing_section_serves_nobody_and_is_named() -> None:
    repaired = es.interpolate(lacking(), [GONE - 1], method="linear")
    (entry,) = repaired.provenance["sections"]
    assert GONE not in entry["served"]
    assert any(f"{GONE} (missing)" in line for line in repaired.provenance["notices"])
    aligned = es.align(lacking(), method="optical-flow")
    assert any("missing" in line and f"section {GONE}" in line for line in aligned.provenance["notices"])
    finer = es.upsample(lacking(), 2, method="linear")
    assert any(f"{GONE} (missing) repaired" in line for line in finer.provenance["notices"])
    drawn = finer.volume.data[2 * GONE]
    assert not finer.empty.data[2 * GONE, 10:50, 30:].any()
    assert finer.synthetic.data[2 * GONE, 10:50, 30:].all()
    assert drawn[10:50, 30:].min() > 10
    left = es.upsample(lacking(), 2, method="linear", damaged=[], selfcheck=False)
    assert left.empty.data[2 * GONE].all()
    np.testing.assert_array_equal(
        left.volume.data[2 * GONE - 1, 10:50, 30:], left.volume.data[2 * GONE - 2, 10:50, 30:]
    )
    scores = es.evaluate("interpolate/linear", lacking())
    assert GONE not in scores["sections"]
    assert scores["left_out"]["sections"] == [{"section": GONE, "kind": "missing"}]


def test_a_missing_section_is_filled_like_any_other() -> None:
    filled = es.interpolate(lacking(), [GONE], method="fitted", selfcheck=False)
    both = margins(SHAPE)[GONE - 1] & margins(SHAPE)[GONE + 1]
    np.testing.assert_array_equal(filled.empty.data[GONE] > 0, both)
    np.testing.assert_array_equal(filled.synthetic.data[GONE] > 0, ~both)


@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_an_aligned_stack_from_a_file_is_what_it_was_in_memory(tmp_path: Path, suffix: str) -> None:
    volume = Phantom(shape=SHAPE, drift=0.4, jitter=2.0, voxel_nm=(30, 10, 10)).volume()
    aligned = es.align(volume, method="optical-flow", selfcheck=False)
    assert aligned.empty.data.any()
    back = es.read(es.write(aligned, tmp_path / f"aligned{suffix}"))
    here, there = (parts(es.upsample(v, 2, method="linear", selfcheck=False)) for v in (aligned.volume, back))
    for name, array in here.items():
        np.testing.assert_array_equal(array, there[name], err_msg=name)
    assert here["empty"].any()


def test_the_interval_is_wide_enough_where_one_neighbour_serves() -> None:
    whole = Phantom(shape=SHAPE, drift=0.4, noise=4.0, voxel_nm=(30, 10, 10)).volume()
    planted = whole.data.copy()
    planted[5, :, :13] = 0
    result = es.interpolate(planted, [4], method="fitted")
    half = result.uncertainty.data[4]
    off = np.abs(result.volume.data[4].astype(float) - whole.data[4])
    assert result.provenance["sections"][0]["above"] == 5
    for part in (np.s_[:, :13], np.s_[:, 13:]):
        assert 0.8 < (off[part] <= half[part]).mean() < 0.99
